"""How many lines each file has been changed by, from the events of the category `file`."""

import json
from collections import Counter

from evtool import Store

POSITION_STREAM = "sizes:position-1"


class Sizes:
    """A consumer that keeps its position in a stream of the same store."""

    def __init__(self, store: Store, batch_size: int = 100) -> None:
        self.store = store
        self.batch_size = batch_size
        self.lines: Counter[str] = Counter()

    def catch_up(self) -> int:
        """Reads what is new, and returns how many messages that were."""
        count = 0
        position = self.position()
        while messages := self.store.get_category_messages("file", position + 1, self.batch_size):
            for message in messages:
                data = json.loads(message.data or "{}")
                self.lines[data["path"]] += data.get("lines", 0)
            count += len(messages)
            position = messages[-1].global_position
            self.store.write_message(None, POSITION_STREAM, "Read", {"position": position})
        return count

    def position(self) -> int:
        """The global position of the last message that was read; 0 before the first."""
        last = self.store.get_last_stream_message(POSITION_STREAM)
        return 0 if last is None else json.loads(last.data or "{}")["position"]
