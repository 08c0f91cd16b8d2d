"""Import hook by which `import segment_anything` finds `samkit.compat.segment_anything`."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from samkit.errors import SamkitError

NAME = "segment_anything"
HOME = "samkit.compat"


class AlreadyImportedError(SamkitError, ImportError):
    """Another package of this name is already imported."""


def install() -> None:
    """Make `import segment_anything`, and imports of its modules, find samkit's.

        import samkit.compat
        samkit.compat.install()
        from segment_anything import SamPredictor   # samkit.compat.segment_anything's

    Modules are imported on demand. Calling it again has no effect.

    Raises:
        AlreadyImportedError: the original is already imported.
    """
    present = sys.modules.get(NAME)
    if present is not None and present.__name__ != f"{HOME}.{NAME}":
        raise AlreadyImportedError(
            f"{NAME} is imported already, from {getattr(present, '__file__', 'elsewhere')}:"
            " call samkit.compat.install() before the first import"
        )
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder())


class AliasFinder(MetaPathFinder):
    """Finds modules of that name only, in `samkit.compat`."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != NAME:
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
