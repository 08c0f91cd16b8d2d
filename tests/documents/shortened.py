"""Settings that shorten the documents' commands, and commands that are not run."""

SHORT_TRAINING = [
    "run.steps=2",
    "run.evaluate_every=1",
    "data.images_per_batch=2",
    "data.workers=0",
    "evaluation.images=1",
    "evaluation.masks_per_image=2",
]
FEW_POINTS = ["--points-per-side", "3", "--crop-layers", "0"]
# What is added to commands that begin so; of an option that is given twice, the last one counts.
SHORTENED = {
    "samkit annotate": ["--no-browser"],
    "samkit auto": FEW_POINTS,
    "samkit bench": ["--work", "click", "--turns", "1", "--no-memory", "--backend", "torch"],
    "samkit engine audit start": ["--images", "1"],
    "samkit engine prelabel": FEW_POINTS,
    "samkit engine simulate": ["--rounds", "2"],
    "samkit evaluate": ["--images", "1"],
    "samkit evaluate named:count=300,size=128,seed=7": ["--min-area", "20"],
    "samkit pretrain clip_named": [
        *("train=named:count=4,size=48", "val=named:count=2,size=48,seed=1"),
        *("crops=4", "held_out_crops=4", "run.steps=2", "run.evaluate_every=2"),
    ],
    "samkit train": SHORT_TRAINING,
    "samkit train named_text": [
        *("data.train=named:count=2,size=64", "data.val=named:count=1,size=64,seed=1"),
        *("data.min_area_px=20", "crops.min_area_px=20", "crops.variants=1"),
    ],
    "samkit train tuned": ["session.compile=false"],
    "samkit train text": ["crops.variants=1"],
}
# Likewise, for the protocols that `samkit evaluate` measures.
DEFAULT_PROTOCOLS = {"one-click", "noc"}
SHORTENED_PROTOCOLS = {
    ("one-click", "noc", "text"): ["--masks-per-image", "2"],
    ("noc",): ["--max-clicks", "2"],
    ("recall",): ["--recall-points", "3"],
    ("edges",): ["--edge-thresholds", "3"],
}
# What begins so cannot run in a test; its options and settings are checked nevertheless.
NOT_RUN = {
    "cvat-cli": "needs a CVAT server; tests/interop calls the functions",
    "make": "makes an environment, or runs these very tests",
    "pip install": "needs a package index",
    "samkit auto images --proposer": "needs a proposal head, of the line below",
    "samkit train proposals": "has other settings; tests/training/proposals trains",
    "torchrun": "needs eight GPUs and SA-1B",
    "samkit engine init images --store postgresql": "needs a server at this address",
    "samkit engine users add bob --role annotator --store postgresql": "likewise",
    "samkit serve --store postgresql": "likewise",
    "samkit serve-model --workers": "runs until it is stopped; tests/serving has it",
    "samkit serve-model --keys": "likewise",
    "samkit serve-model --ray": "needs a Ray cluster; tests/interop has one",
    "samkit serve --oidc-issuer": "needs a provider at this address",
    "samkit export tuned/last.safetensors": "needs a ViT; tests/export writes a small one",
    "samkit export mobile_sam_tuned": "needs OpenVINO, which tests do without; tests/export has it",
    "samkit export sam2.1_hiera_tiny": "needs a download; tests/export exports a small SAM 2",
    "samkit auto images --ray": "needs a Ray cluster",
    "samkit auto s3://": "needs a network",
    "samkit auto https://": "likewise",
}
