"""Everything that knows torchdistill: io dicts, module paths, boxes and wrappers, once for all methods."""
