"""What plain hooks see at feature points."""

import torch


@torch.no_grad()
def tensors_at(model, points, images):
    """Return what ``model`` in eval mode has at each point, by its name."""
    seen, handles = {}, []
    for point in points:
        module = model if point.path == "." else model.get_submodule(point.path)

        def hook(module, args, output, point=point):
            seen[point.name] = args[0] if point.io == "input" else output

        handles.append(module.register_forward_hook(hook))
    model.eval()(images)
    for handle in handles:
        handle.remove()
    return seen
