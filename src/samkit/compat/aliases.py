"""Import hook by which `import segment_anything` and `import sam2` find those of this room."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from samkit.errors import ConfigError, SamkitError

NAMES = ("segment_anything", "sam2")
HOME = "samkit.compat"


class AlreadyImportedError(SamkitError, ImportError):
    """Another package of this name is already imported."""


def install(*names: str) -> None:
    """Make imports of `segment_anything`, of `sam2` and of their modules find samkit's.

        import samkit.compat
        samkit.compat.install()
        from segment_anything import SamPredictor   # samkit.compat.segment_anything's
        from sam2.build_sam import build_sam2       # samkit.compat.sam2's

    Modules are imported on demand. Calling it again has no effect.

    Args:
        names: which of the two; default: both.

    Raises:
        AlreadyImportedError: the original is already imported.
        ConfigError: there is no replacement of this name.
    """
    for name in names or NAMES:
        if name not in NAMES:
            raise ConfigError(f"there is no replacement for {name!r}, only for {', '.join(NAMES)}")
        present = sys.modules.get(name)
        if present is not None and present.__name__ != f"{HOME}.{name}":
            raise AlreadyImportedError(
                f"{name} is imported already, from {getattr(present, '__file__', 'elsewhere')}:"
                " call samkit.compat.install() before the first import, or name the packages to"
                f" replace: install({', '.join(repr(other) for other in NAMES if other != name)})"
            )
    finder = next((one for one in sys.meta_path if isinstance(one, AliasFinder)), None)
    if finder is None:
        finder = AliasFinder()
        sys.meta_path.insert(0, finder)
    finder.names.update(names or NAMES)


class AliasFinder(MetaPathFinder):
    """Finds modules of some names only, in `samkit.compat`."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in self.names:
            return None
        own = find_spec(f"{HOME}.{fullname}")
        if own is None:
            return None
        is_package = own.submodule_search_locations is not None
        return ModuleSpec(fullname, AliasLoader(), origin=own.origin, is_package=is_package)


class AliasLoader(Loader):
    """Loads samkit's module, so that both names refer to one module."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(f"{HOME}.{spec.name}")
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # replaced by the alias's spec during the import
