"""Lightning's Trainer, twice: a recipe as a LightningModule, and AugSelf in a module that you have already.

    pip install lightning; python examples/lightning_module.py
"""

import logging
import tempfile
import warnings

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models import resnet18

from augaware.adapters.lightning import AugSelfCallback, Pretraining
from augaware.data.shapes import Shapes  # drawn images, in the place of yours
from augaware.parts import Views, loss

warnings.filterwarnings("ignore", module="lightning")  # it advises more workers than this example wants
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Images(torch.utils.data.Dataset):
    """As torchvision's data sets: an image and its label."""

    source = Shapes(96)

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i):
        return self.source.load(i), int(self.source.labels[i])


class YourSimCLR(LightningModule):
    """A module of yours; the one hook for AugSelf is what its training step returns."""

    def __init__(self):
        super().__init__()
        self.f, self.g, self.contrast = resnet18(), nn.Linear(512, 64), loss("simclr(temperature=0.2)")
        self.f.fc = nn.Identity()

    def training_step(self, batch, batch_idx):
        (v1, v2), _ = batch
        y1, y2 = self.f(v1.image), self.f(v2.image)
        return {"loss": self.contrast(self.g(y1), self.g(y2)), "views": [v1, v2], "features": [y1, y2]}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.03, momentum=0.9)


with tempfile.TemporaryDirectory() as folder:
    quiet = {"max_epochs": 1, "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"accelerator": "cpu", "default_root_dir": folder}

    recipe = {"host": "byol(hidden_dim=256, output_dim=64)", "aware": ["augself()"], "size": 32, "batch_size": 32}
    module = Pretraining(recipe)
    loader = DataLoader(module.views.of(Images()), batch_size=32, shuffle=True, drop_last=True)
    trainer = Trainer(**quiet)
    trainer.fit(module, loader)
    print("byol + augself:", {k: round(float(v), 3) for k, v in trainer.logged_metrics.items() if "loss" in k})

    views = Views(size=32)
    trainer = Trainer(**quiet, callbacks=[AugSelfCallback(views.spaces, dim=512)])
    trainer.fit(YourSimCLR(), DataLoader(views.of(Images()), batch_size=32, shuffle=True, drop_last=True))
    print("your module + augself:", {k: round(float(v), 3) for k, v in trainer.logged_metrics.items()})
