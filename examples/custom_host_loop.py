"""A whole objective, MoCo v2 with AugSelf and CASSLE at once, in a loop of your own: EMA target, queue and heads.

    python examples/custom_host_loop.py
"""

import torch
from torch import nn
from torchvision.models import resnet18

from augaware.data.shapes import Shapes  # drawn images, in the place of yours
from augaware.parts import Moment, Views, objective

EPOCHS, BATCH = 2, 32
torch.manual_seed(0)
images = Shapes(96)
views = Views(size=32, seed=0)

f = resnet18()  # any module from images to features (B, D): timm's, transformers', yours
f.fc = nn.Identity()
whole = objective(f, host="moco_v2(queue=128)", aware=["augself()", "cassle(depth=2)"], views=views)
optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], lr=0.03, momentum=0.9)

per_epoch = len(images) // BATCH
for epoch in range(EPOCHS):
    for place, index in enumerate(torch.randperm(len(images)).split(BATCH)):
        now = Moment(epoch * per_epoch + place, EPOCHS * per_epoch, per_epoch)
        batch = images.batch(index).pixels  # (B, 3, 48, 48) uint8; a list of images of any sizes will do
        whole.before_step(now)  # schedules of the host
        parts = whole(views(batch, index, epoch, plan=whole.plan(views.count)))
        optimizer.zero_grad()
        parts["loss"].backward()
        whole.after_backward(now)  # the host's last word on gradients
        optimizer.step()
        whole.after_step(now)  # the EMA target follows, the queue takes the batch's keys
    print(f"epoch {epoch + 1}: " + ", ".join(f"{k} {v:.3f}" for k, v in parts.items() if k.startswith("loss")))

moved = (whole.target.f.backbone.conv1.weight - f.conv1.weight).abs().max()
print(f"the EMA target is {moved:.4f} from f; {int(whole.host.place)} is the queue's place")

first, _ = views(batch, index, epoch)
again = views.apply(batch, first.omega)  # replay: from the parameters alone
print(f"the first view, drawn again from its omega: equal pixels {torch.equal(first.image, again.image)}")
