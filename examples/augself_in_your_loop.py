"""AugSelf and CASSLE in a plain PyTorch SimCLR loop: `# +` marks the lines that are added or changed.

    python examples/augself_in_your_loop.py [none|augself|cassle]
"""

import sys

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.models import resnet18

from augaware.data.shapes import Shapes  # drawn images, in the place of yours
from augaware.parts import AugSelf, ConditionedProjector, Views  # +

HOW = sys.argv[1] if len(sys.argv) > 1 else "augself"


class Images(torch.utils.data.Dataset):
    """As torchvision's data sets: an image and its label, and a transform."""

    def __init__(self, source, transform):
        self.source, self.transform = source, transform

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i):
        return self.transform(self.source.load(i)), int(self.source.labels[i])


def nt_xent(z1, z2, temperature=0.2):
    """SimCLR's loss, as everybody has it."""
    z = F.normalize(torch.cat((z1, z2)), dim=1)
    similar = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    n = len(z1)
    return F.cross_entropy(similar, torch.cat((torch.arange(n) + n, torch.arange(n))))


torch.manual_seed(0)
views = Views(size=32)  # + in the place of torchvision's two-crops transform
loader = DataLoader(Images(Shapes(96), views.transform), batch_size=32, shuffle=True, drop_last=True)  # +

f = resnet18()
f.fc = nn.Identity()
g = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 128))
heads = AugSelf(views.spaces, dim=512)  # +
if HOW == "cassle":
    g = ConditionedProjector(views.spaces, dim=512)  # + CASSLE, in the place of g
optimizer = torch.optim.SGD([*f.parameters(), *g.parameters(), *heads.parameters()], lr=0.03, momentum=0.9)  # +

for epoch in range(2):
    for (v1, v2), _ in loader:
        y1, y2 = f(v1.image), f(v2.image)  # + v.image where there was v
        if HOW == "cassle":
            z1, z2 = g(y1, v1.omega), g(y2, v2.omega)  # + CASSLE
        else:
            z1, z2 = g(y1), g(y2)
        loss = nt_xent(z1, z2)
        told = heads(v1, v2, y1, y2)  # +
        if HOW == "augself":
            loss = loss + told  # +
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}, of it AugSelf {told.item() if HOW == 'augself' else 0:.3f}")

omega = {name: tuple(w.shape) for name, w in v1.omega.items()}
print(f"{HOW}: {len(v1.image)} views of {tuple(v1.image.shape[1:])}, each with what made it: {omega}")
