"""The data engine: a store of projects, images and masks, and what people do with them.

    store = Store.open("project.db")
    admin = create_user(store, name="ada", role="admin")
    project = create_project(store, name="cells", root="images/")
    add_images(store, project.id)

Each function is one action and one transaction: when it returns, its change is on the disk.
"""

from samkit.dataengine.annotation_reading import (
    annotation_events,
    annotation_history,
    list_annotations,
    visible_annotations,
)
from samkit.dataengine.annotations import (
    delete_annotation,
    redo_annotation,
    replace_annotation,
    save_annotation,
    undo_annotation,
)
from samkit.dataengine.audit import list_actions, note_action
from samkit.dataengine.background import SCAN, work_once
from samkit.dataengine.backup import backup_store, restore_store
from samkit.dataengine.database import Store
from samkit.dataengine.disagreement import list_doubly_annotated, measure_agreement
from samkit.dataengine.embedding_cache import EmbeddingCache
from samkit.dataengine.exchange.exporting import export_project
from samkit.dataengine.exchange.history import export_history
from samkit.dataengine.exchange.importing import import_masks
from samkit.dataengine.image_files import (
    check_name,
    image_content,
    read_stored_image,
    receive_image,
    upload_folder,
)
from samkit.dataengine.ingest import add_image, add_images
from samkit.dataengine.jobs import (
    add_job,
    add_model_version,
    finish_job,
    get_job,
    list_model_versions,
    report_progress,
    take_job,
)
from samkit.dataengine.moving import move_project
from samkit.dataengine.prelabel import Prelabelling, PrelabelReport
from samkit.dataengine.projects import (
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
from samkit.dataengine.queue import (
    give_back,
    renew_lease,
    set_num_annotators,
    take_image,
    take_next,
    upcoming_images,
)
from samkit.dataengine.reviews import accept_image, return_image, review_history, submit_image
from samkit.dataengine.sessions import SignedIn, close_session, open_session, resume_session
from samkit.dataengine.sources import ImageSource
from samkit.dataengine.statistics import count_images, work_days
from samkit.dataengine.users import (
    change_user,
    check_password,
    create_user,
    list_users,
    user_names,
)
from samkit.dataengine.values import NewEvent

__all__ = [
    "SCAN",
    "EmbeddingCache",
    "ImageSource",
    "NewEvent",
    "PrelabelReport",
    "Prelabelling",
    "SignedIn",
    "Store",
    "accept_image",
    "add_class",
    "add_image",
    "add_images",
    "add_job",
    "add_model_version",
    "annotation_events",
    "annotation_history",
    "backup_store",
    "change_user",
    "check_name",
    "check_password",
    "close_session",
    "count_images",
    "create_project",
    "create_user",
    "delete_annotation",
    "delete_project",
    "export_history",
    "export_project",
    "finish_job",
    "get_image",
    "get_job",
    "get_project",
    "give_back",
    "image_content",
    "import_masks",
    "list_actions",
    "list_annotations",
    "list_classes",
    "list_doubly_annotated",
    "list_images",
    "list_model_versions",
    "list_projects",
    "list_users",
    "measure_agreement",
    "move_project",
    "note_action",
    "open_session",
    "read_stored_image",
    "receive_image",
    "redo_annotation",
    "rename_project",
    "renew_lease",
    "replace_annotation",
    "report_progress",
    "restore_store",
    "resume_session",
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
    "user_names",
    "visible_annotations",
    "work_days",
    "work_once",
]
