"""MLKD: samples, batches and classes, from two views of each image."""

from ._record import Loss, Method, Part, Reads

METHOD = Method(
    name="mlkd",
    title="MLKD",
    paper="MLKD, Jin et al., CVPR 2023",
    summary="samples, batches and classes at several temperatures, from two views",
    losses=[
        Loss(
            "kd_plugins.losses.mlkd:MLKDLoss",
            "samples, batches and classes, from two views",
            Reads(
                sees_untransformed=True,
                requires={
                    "train_data_loader.dataset_wrapper": "{key: TwoViews, kwargs: {strong: ...}}",
                    "train_data_loader.collate_fn": "collate_two_views",
                },
            ),
            {"temperatures": [2, 3.0], "variant": "authors"},
        )
    ],
    parts=[
        Part("dataset-wrappers", "kd_plugins.data:TwoViews", "a weak and a strong augmentation of each image"),
        Part("collate-functions", "kd_plugins.data:collate_two_views", "both views of a batch in one"),
    ],
    values={"temperatures": [4, 3, 5, 2, 6], "variant": "authors"},
    keywords={"standardize": False, "correction": 0},
    weight=0.9,
    ce=0.2,
    source="Temperatures and weights: those of the authors' code of MLKD (Jin et al., CVPR 2023).",
    ce_note="the authors' 0.1 for each view, as the mean here is over both",
    standardized=(
        {"temperatures": [2, 3, 5, 2, 6], "weight": 9.0},
        "Standardization reaches the divergences alone. Temperatures and weight: those of LSKD (Sun et al., CVPR 2024)"
        "{for_pair}.",
    ),
    schedule="cifar_step_mlkd",
    choices={"variant": ("paper", "authors")},
    views=True,
    on_logits=True,
    configs=("", "_ls", "_sfkd"),
    demo=True,
)
