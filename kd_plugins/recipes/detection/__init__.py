"""Configs of detectors: the rows of CKD's table on COCO, and digits on canvases."""

from .recipe import DATASETS, detection_recipe, file_of

__all__ = ["DATASETS", "detection_recipe", "file_of"]
