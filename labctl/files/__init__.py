"""Files on a node as task types manage them: arguments, attributes, content, diffs."""

from labctl.files.arguments import FileArgs
from labctl.files.attributes import Attributes, properties
from labctl.files.content import Content, Manner, place, shown

__all__ = ["Attributes", "Content", "FileArgs", "Manner", "place", "properties", "shown"]
