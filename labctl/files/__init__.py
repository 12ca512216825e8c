"""Files on a node as task types manage them: attributes, content, diffs."""

from labctl.files.attributes import Attributes, properties
from labctl.files.content import place, shown

__all__ = ["Attributes", "place", "properties", "shown"]
