"""Annotation work: projects and their images, the queue, masks, reviews, jobs, statistics."""

from samkit.dataengine.work.adding import AddedMasks, MadeMask, add_made_masks, add_missing_classes
from samkit.dataengine.work.annotation_queries import (
    annotation_events,
    annotation_history,
    list_annotations,
    visible_annotations,
)
from samkit.dataengine.work.annotations import (
    delete_annotation,
    redo_annotation,
    replace_annotation,
    save_annotation,
    undo_annotation,
)
from samkit.dataengine.work.disagreement import Agreement, list_doubly_annotated, measure_agreement
from samkit.dataengine.work.image_files import (
    check_name,
    image_content,
    read_stored_image,
    receive_image,
    upload_folder,
)
from samkit.dataengine.work.ingest import AddReport, add_image, add_images
from samkit.dataengine.work.jobs import (
    SCAN,
    add_job,
    add_model_version,
    finish_job,
    get_job,
    list_model_versions,
    report_progress,
    take_job,
    work_once,
)
from samkit.dataengine.work.moving import MoveReport, move_project
from samkit.dataengine.work.prelabel import Generate, Prelabelling, PrelabelReport
from samkit.dataengine.work.projects import (
    add_class,
    create_project,
    delete_project,
    get_image,
    get_project,
    list_classes,
    list_images,
    list_projects,
    rename_project,
)
from samkit.dataengine.work.queue import (
    give_back,
    is_held,
    renew_lease,
    set_num_annotators,
    take_image,
    take_next,
    upcoming_images,
)
from samkit.dataengine.work.reviews import (
    Verdict,
    accept_image,
    return_image,
    review_history,
    submit_image,
)
from samkit.dataengine.work.sources import ImageSource
from samkit.dataengine.work.statistics import StateCount, WorkDay, count_images, work_days

__all__ = [
    "SCAN",
    "AddReport",
    "AddedMasks",
    "Agreement",
    "Generate",
    "ImageSource",
    "MadeMask",
    "MoveReport",
    "PrelabelReport",
    "Prelabelling",
    "StateCount",
    "Verdict",
    "WorkDay",
    "accept_image",
    "add_class",
    "add_image",
    "add_images",
    "add_job",
    "add_made_masks",
    "add_missing_classes",
    "add_model_version",
    "annotation_events",
    "annotation_history",
    "check_name",
    "count_images",
    "create_project",
    "delete_annotation",
    "delete_project",
    "finish_job",
    "get_image",
    "get_job",
    "get_project",
    "give_back",
    "image_content",
    "is_held",
    "list_annotations",
    "list_classes",
    "list_doubly_annotated",
    "list_images",
    "list_model_versions",
    "list_projects",
    "measure_agreement",
    "move_project",
    "read_stored_image",
    "receive_image",
    "redo_annotation",
    "rename_project",
    "renew_lease",
    "replace_annotation",
    "report_progress",
    "return_image",
    "review_history",
    "save_annotation",
    "set_num_annotators",
    "submit_image",
    "take_image",
    "take_job",
    "take_next",
    "undo_annotation",
    "upcoming_images",
    "upload_folder",
    "visible_annotations",
    "work_days",
    "work_once",
]
