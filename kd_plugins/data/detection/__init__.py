"""Data sets for object detection: images with boxes."""

from .canvas_digits import CanvasDigits
from .coco_boxes import CocoBoxes
from .collate import collate_detection
from .flip import RandomFlip

__all__ = ["CanvasDigits", "CocoBoxes", "RandomFlip", "collate_detection"]
