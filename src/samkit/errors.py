"""Everything that samkit raises for bad input.

    SamkitError
    ├── ImageError        an image cannot be read, or is not an image
    ├── PromptError       points, labels, boxes or mask logits do not make a prompt
    ├── EmbeddingError    a kept embedding is damaged, or belongs to another model
    ├── WeightsError      a checkpoint is damaged, unknown or does not fit the model
    │   └── DownloadError a checkpoint could not be fetched
    ├── BackendError       an backend is not installed, or cannot do what is asked of it
    ├── FormatError       a file of masks is damaged, or masks do not fit a format
    ├── DataError         a sample of a data set is broken, or a data set is not what it should be
    ├── TrainingError     a training cannot go on
    ├── ConfigError       a setting makes no sense, or does not fit what it is applied to
    ├── StoreError        the data engine's store cannot be used, or refuses an action
    │   ├── ConflictError what an action is based on was changed by somebody else, or is not held
    │   ├── MissingError  there is no such project, image, annotation, ...
    │   ├── RoleError     somebody is not allowed to do this
    │   └── DatabaseError the database cannot be reached, or is broken
    └── OutputError       results cannot be written

Each message is one line: what is wrong, what was expected, what came, and the way out.
"""


class SamkitError(Exception):
    """Base of all errors of this package."""


class ImageError(SamkitError):
    """An image cannot be read, or is not an image."""


class PromptError(SamkitError):
    """Points, labels, boxes or mask logits do not make a prompt."""


class EmbeddingError(SamkitError):
    """A kept embedding is damaged, or belongs to another model."""


class WeightsError(SamkitError):
    """A checkpoint is damaged, unknown or does not fit the model."""


class DownloadError(WeightsError):
    """A checkpoint could not be fetched."""


class FormatError(SamkitError):
    """A file of masks is damaged, or masks do not fit a format."""


class BackendError(SamkitError):
    """An backend is not installed, or cannot do what is asked of it."""


class DataError(SamkitError):
    """A sample of a data set is broken, or a data set is not what it should be."""


class TrainingError(SamkitError):
    """A training cannot go on."""


class ConfigError(SamkitError):
    """A setting makes no sense, or does not fit what it is applied to."""


class StoreError(SamkitError):
    """The data engine's store cannot be used, or refuses an action."""


class ConflictError(StoreError):
    """What an action is based on was changed by somebody else meanwhile, or is not held."""


class MissingError(StoreError):
    """There is no such project, image, annotation, user or job."""


class RoleError(StoreError):
    """Somebody is not allowed to do this."""


class DatabaseError(StoreError):
    """The database cannot be reached, or is broken."""


class OutputError(SamkitError):
    """Results cannot be written."""
