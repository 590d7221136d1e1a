"""For loops that others wrote, on top of :mod:`augaware.parts`: one file each, which imports its library by itself.

Most need no adapter. lightly: ``LightlyDataset(folder, transform=views.transform)`` gives ``batch[0]`` as views with
``.image`` and ``.omega``, its projection heads go into ``ConditionedProjector(spaces, dim, projector=...)``, and its
losses take our embeddings as ours take theirs. timm, torchvision and transformers: their networks are f, any module
from images to pooled features (B, D).
"""
