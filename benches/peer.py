#!/usr/bin/env python3
"""Trains one of the models in PyTorch on random images and prints images a second, as JSON.

The same work as `coresift bench`: images kept as bytes, normalised (and cropped and mirrored) batch by batch,
SGD with momentum 0.9, Nesterov and weight decay, cross-entropy; then a forward pass in evaluation mode.
"""

import argparse
import json
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


def resnet18(sample, width, classes):
    layers = [nn.Conv2d(sample[0], width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    channels = width
    for stage in range(4):
        for block in range(2):
            out = width << stage
            layers.append(Block(channels, out, 2 if stage and not block else 1))
            channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def lenet(sample, _, classes):
    pad = 2 if sample[1] < 32 else 0
    side = ((sample[1] + 2 * pad - 4) // 2 - 4) // 2
    return nn.Sequential(
        nn.Conv2d(sample[0], 6, 5, padding=pad), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * side * side, 120), nn.ReLU(inplace=True),
        nn.Linear(120, 84), nn.ReLU(inplace=True), nn.Linear(84, classes),
    )


def mlp(sample, width, classes):
    flat = sample[0] * sample[1] * sample[2]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(flat, width), nn.ReLU(inplace=True),
        nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, classes),
    )


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--model", choices=["mlp", "lenet", "resnet18"], required=True)
    parse.add_argument("--width", type=int, default=128)
    parse.add_argument("--sample", default="1x28x28")
    parse.add_argument("--batch", type=int, default=128)
    parse.add_argument("--augment", choices=["none", "crop-flip"], default="none")
    parse.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32")
    parse.add_argument("--device", default="cpu")
    parse.add_argument("--threads", type=int, default=2)
    parse.add_argument("--seconds", type=float, default=3)
    parse.add_argument("--compile", action="store_true")
    args = parse.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision != "f32"
    torch.backends.cudnn.benchmark = True
    device = torch.device(args.device)
    gpu = device.type == "cuda"
    c, h, w = (int(side) for side in args.sample.split("x"))
    n, classes = (64 if args.model == "mlp" else 16 if gpu else 4) * args.batch, 10
    pixels = torch.randint(0, 256, (n, c, h, w), dtype=torch.uint8, device=device)
    labels = torch.randint(0, classes, (n,), device=device)
    model = globals()[args.model]([c, h, w], args.width, classes).to(device)
    if gpu:
        model = model.to(memory_format=torch.channels_last)
    run = torch.compile(model) if args.compile else model
    sgd = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, foreach=True
    )
    half = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16")

    def batch(rows, moved):
        x = pixels[rows].float().mul_(1 / (255 * 0.25)).sub_(2)
        if moved and args.augment == "crop-flip":
            x = F.pad(x, (4, 4, 4, 4), mode="reflect")
            down = torch.randint(0, 9, (len(rows), 1), device=device) + torch.arange(h, device=device)
            right = torch.randint(0, 9, (len(rows), 1), device=device) + torch.arange(w, device=device)
            mirror = torch.rand(len(rows), 1, device=device) < 0.5
            right = torch.where(mirror, right.flip(1), right)
            at = torch.arange(len(rows), device=device)[:, None, None]
            x = x.permute(0, 2, 3, 1)[at, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)
        return x.contiguous(memory_format=torch.channels_last) if gpu else x.contiguous()

    def train():
        for rows in torch.randperm(n, device=device).split(args.batch):
            with half:
                loss = F.cross_entropy(run(batch(rows, True)), labels[rows])
            sgd.zero_grad(set_to_none=True)
            loss.backward()
            sgd.step()

    @torch.no_grad()
    def forward():
        for rows in torch.arange(n, device=device).split(2 * args.batch):
            with half:
                run(batch(rows, False))

    def rate(work):
        def once():
            begun = time.perf_counter()
            work()
            if gpu:
                torch.cuda.synchronize()
            return time.perf_counter() - begun

        once()
        times = []
        while len(times) < 2 or sum(times) < args.seconds:
            times.append(once())
        return n * len(times) / sum(times)

    model.train()
    trained = rate(train)
    model.eval()
    print(json.dumps({"train": trained, "forward": rate(forward)}))


if __name__ == "__main__":
    main()
