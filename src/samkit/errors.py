"""The exceptions that samkit raises.

    SamkitError
    ├── ImageError        an image cannot be read, or is not an image
    ├── VideoError        a video cannot be read, has no such frame, or is not a video
    ├── PromptError       points, labels, boxes or mask logits do not make a prompt
    │   └── NothingFoundError nothing is where a prompt in a video says
    ├── EmbeddingError    a saved embedding is damaged, or belongs to another model
    ├── WeightsError      a checkpoint is damaged, unknown or does not fit the model
    │   └── DownloadError a checkpoint could not be fetched
    ├── BackendError      a backend is not installed, or cannot do what is asked of it
    ├── FormatError       a mask file is damaged, or masks do not fit a file format
    ├── DataError         a data set or one of its samples is broken
    ├── TrainingError     a training run cannot continue
    ├── ConfigError       a setting is invalid, or does not fit what it is applied to
    │   └── RecipeError   a checkpoint is of a training with other settings
    ├── StoreError        the data engine's store cannot be used, or refuses an action
    │   ├── ConflictError the item was changed by somebody else, or the user does not hold it
    │   ├── MissingError  no such project, image, annotation, user or job
    │   ├── RoleError     the user is not allowed to do this
    │   └── DatabaseError the database cannot be reached, or is broken
    │       └── StoreFullError the database has no room for more
    ├── OutputError       results cannot be written
    └── WorkerError       a process or a machine that works for this one was lost

Each message is one line: what is wrong, what was expected, what was given, and the way out.
"""


class SamkitError(Exception):
    """Base of all errors of this package."""


class ImageError(SamkitError):
    """An image cannot be read, or is not an image."""


class VideoError(SamkitError):
    """A video cannot be read, has no such frame, or is not a video."""


class PromptError(SamkitError):
    """Points, labels, boxes or mask logits do not make a prompt."""


class NothingFoundError(PromptError):
    """Nothing is found where a prompt in a frame of a video says."""


class EmbeddingError(SamkitError):
    """A saved embedding is damaged, or belongs to another model."""


class WeightsError(SamkitError):
    """A checkpoint is damaged, unknown or does not fit the model."""


class DownloadError(WeightsError):
    """A checkpoint could not be fetched."""


class FormatError(SamkitError):
    """A mask file is damaged, or masks do not fit a file format."""


class BackendError(SamkitError):
    """A backend is not installed, or cannot do what is asked of it."""


class DataError(SamkitError):
    """A data set or one of its samples is broken."""


class TrainingError(SamkitError):
    """A training run cannot continue."""


class ConfigError(SamkitError):
    """A setting is invalid, or does not fit what it is applied to."""


class RecipeError(ConfigError):
    """A checkpoint is of a training with other settings."""


class StoreError(SamkitError):
    """The data engine's store cannot be used, or refuses an action."""


class ConflictError(StoreError):
    """The item was changed by somebody else in the meantime, or the user does not hold it."""


class MissingError(StoreError):
    """No such project, image, annotation, user or job."""


class RoleError(StoreError):
    """The user is not allowed to do this."""


class DatabaseError(StoreError):
    """The database cannot be reached, or is broken."""


class StoreFullError(DatabaseError):
    """The database has no room for more."""


class OutputError(SamkitError):
    """Results cannot be written."""


class WorkerError(SamkitError):
    """A process or a machine that works for this one was lost, or cannot be started."""
