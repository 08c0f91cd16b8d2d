"""What was left out, and why."""

import logging
from collections import Counter
from collections.abc import Mapping

logger = logging.getLogger(__name__)

BROKEN_ANNOTATION = "broken annotation"


class SkipLedger:
    """Counts what is left out, each thing once however often it is met, and logs it then."""

    def __init__(self) -> None:
        self._by_reason: dict[str, dict[str, int]] = {}

    def note(self, reason: str, key: str, message: str, count: int = 1) -> None:
        """Note that (something of) an image was left out."""
        keys = self._by_reason.setdefault(reason, {})
        if key not in keys:
            keys[key] = count
            logger.warning("skipped %s: %s: %s", key, reason, message)

    def note_faults(self, key: str, faults: tuple[str, ...]) -> None:
        """Note the annotations of an image that were left out."""
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            self.note(BROKEN_ANNOTATION, key, faults[0] + more, len(faults))

    def counts(self) -> Counter[str]:
        """How many there are of each reason."""
        return Counter({reason: sum(keys.values()) for reason, keys in self._by_reason.items()})

    def state_dict(self) -> dict[str, dict[str, int]]:
        """All that is noted, as JSON takes it."""
        return {reason: dict(keys) for reason, keys in self._by_reason.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Go on from what `state_dict` gave."""
        self._by_reason = {reason: dict(keys) for reason, keys in state.items()}
