"""Training loops as PyTorch's own tutorials and examples have them, with gpunet under the name of torch.

Each program is run with PyTorch and with gpunet, from the same weights and on the same numbers, and what it returns
must be the same. Only data sets are replaced, by small random images, and chance is left out.
"""
# ruff: noqa: B905, C420, RUF059, UP008  (written as their authors write)

import importlib
import sys

import numpy as np
import pytest

import gpunet

NAMES = [
    "nn",
    "nn.functional",
    "nn.init",
    "optim",
    "optim.lr_scheduler",
    "utils",
    "utils.data",
    "autograd",
    "amp",
    "cuda",
]
PROGRAMS = {}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def labels(count, classes, seed=0):
    return np.random.default_rng(seed).integers(0, classes, count)


def with_weights(model, seed=0):
    """The model, with weights that are the same in both libraries."""
    import torch

    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            bound = 1 / np.sqrt(max(1, np.prod(parameter.shape[1:])))
            parameter.copy_(torch.tensor(rng.uniform(-bound, bound, tuple(parameter.shape)).astype(np.float32)))
    return model


@program
def quickstart(folder):
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"

    class NeuralNetwork(nn.Module):
        def __init__(self):
            super().__init__()
            self.flatten = nn.Flatten()
            self.linear_relu_stack = nn.Sequential(
                nn.Linear(8 * 8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
            )

        def forward(self, x):
            x = self.flatten(x)
            logits = self.linear_relu_stack(x)
            return logits

    dataset = TensorDataset(torch.tensor(numbers(20, 1, 8, 8)), torch.tensor(labels(20, 10)))
    dataloader = DataLoader(dataset, batch_size=8)
    model = with_weights(NeuralNetwork().to(device))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-1)

    def train(dataloader, model, loss_fn, optimizer):
        model.train()
        for batch, (X, y) in enumerate(dataloader):
            X, y = X.to(device), y.to(device)
            pred = model(X)
            loss = loss_fn(pred, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if batch % 100 == 0:
                loss, current = loss.item(), (batch + 1) * len(X)
                print(f"loss: {loss:>7f}  [{current:>5d}/{len(dataloader.dataset):>5d}]")

    def test(dataloader, model, loss_fn):
        size, num_batches = len(dataloader.dataset), len(dataloader)
        model.eval()
        test_loss, correct = 0, 0
        with torch.no_grad():
            for X, y in dataloader:
                X, y = X.to(device), y.to(device)
                pred = model(X)
                test_loss += loss_fn(pred, y).item()
                correct += (pred.argmax(1) == y).type(torch.float).sum().item()
        return test_loss / num_batches, correct / size

    found = []
    for _ in range(3):
        train(dataloader, model, loss_fn, optimizer)
        found.append(test(dataloader, model, loss_fn))
    torch.save(model.state_dict(), folder / "model.pth")
    model = NeuralNetwork().to(device)
    model.load_state_dict(torch.load(folder / "model.pth", weights_only=True))
    found.append(test(dataloader, model, loss_fn))
    pred = model(torch.as_tensor(dataset[0][0]).to(device).unsqueeze(0))  # data sets of gpunet hold arrays
    return found, pred[0].argmax(0).item()


@program
def training_a_classifier(folder):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    import torch.optim as optim

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 6, 5)
            self.pool = nn.MaxPool2d(2, 2)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.fc1 = nn.Linear(16 * 5 * 5, 120)
            self.fc2 = nn.Linear(120, 84)
            self.fc3 = nn.Linear(84, 10)

        def forward(self, x):
            x = self.pool(F.relu(self.conv1(x)))
            x = self.pool(F.relu(self.conv2(x)))
            x = torch.flatten(x, 1)
            x = F.relu(self.fc1(x))
            x = F.relu(self.fc2(x))
            return self.fc3(x)

    net = with_weights(Net())
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    trainset = torch.utils.data.TensorDataset(torch.tensor(numbers(8, 3, 32, 32)), torch.tensor(labels(8, 10)))
    trainloader = torch.utils.data.DataLoader(trainset, batch_size=4, shuffle=False, num_workers=0)
    losses = []
    for _ in range(2):
        running_loss = 0.0
        for i, data in enumerate(trainloader, 0):
            inputs, targets = data
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if i % 2 == 1:
                losses.append(running_loss / 2)
                running_loss = 0.0
    correct_pred = {each: 0 for each in range(10)}
    with torch.no_grad():
        for images, targets in trainloader:
            _, predictions = torch.max(net(images), 1)
            for label, prediction in zip(targets, predictions):
                if label == prediction:
                    correct_pred[label.item()] += 1
    return losses, correct_pred


@program
def blitz_autograd(folder):
    import torch

    a = torch.tensor([2.0, 3.0], requires_grad=True)
    b = torch.tensor([6.0, 4.0], requires_grad=True)
    Q = 3 * a**3 - b**2
    external_grad = torch.tensor([1.0, 1.0])
    Q.backward(gradient=external_grad)
    checked = (9 * a**2 == a.grad).tolist(), (-2 * b == b.grad).tolist()
    x, y, z = torch.ones(5, 5), torch.ones(5, 5), torch.ones((5, 5), requires_grad=True)
    needed = (x + y).requires_grad, (x + z).requires_grad
    t = torch.ones(4, 4)
    t[:, 1] = 0
    numpy_shared = torch.ones(5)
    n = numpy_shared.numpy()
    numpy_shared.add_(1)
    joined = torch.cat([t, t, t], dim=1)
    return checked, needed, joined.tolist(), n.tolist(), (t * t).sum().item(), (t @ t.T).tolist()


@program
def autograd_tutorial(folder):
    import torch

    x = torch.ones(5)
    y = torch.zeros(3)
    w = torch.tensor(numbers(5, 3), requires_grad=True)
    b = torch.tensor(numbers(3), requires_grad=True)
    z = torch.matmul(x, w) + b
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
    loss.backward()
    assert z.grad_fn is not None
    inp = torch.eye(4, 5, requires_grad=True)
    out = (inp + 1).pow(2).t()
    out.backward(torch.ones_like(out), retain_graph=True)
    first = inp.grad.tolist()
    out.backward(torch.ones_like(out), retain_graph=True)
    second = inp.grad.tolist()
    inp.grad.zero_()
    out.backward(torch.ones_like(out), retain_graph=True)
    return w.grad.tolist(), b.grad.tolist(), first, second, inp.grad.tolist(), z.detach().requires_grad


@program
def learning_with_examples(folder):
    import torch

    class LegendrePolynomial3(torch.autograd.Function):
        @staticmethod
        def forward(ctx, input):
            ctx.save_for_backward(input)
            return 0.5 * (5 * input**3 - 3 * input)

        @staticmethod
        def backward(ctx, grad_output):
            (input,) = ctx.saved_tensors
            return grad_output * 1.5 * (5 * input**2 - 1)

    dtype, device = torch.float, torch.device("cpu")
    x = torch.linspace(-torch.pi, torch.pi, 200, dtype=dtype)
    y = torch.sin(x)
    a, b, c, d = (torch.full((), value, dtype=dtype, requires_grad=True) for value in (0.0, -1.0, 0.0, 0.3))
    losses = []
    for _ in range(20):
        y_pred = a + b * LegendrePolynomial3.apply(c + d * x)
        loss = (y_pred - y).pow(2).sum()
        losses.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for each in (a, b, c, d):
                each -= 5e-6 * each.grad
                each.grad = None
    p = torch.tensor([1, 2, 3])
    xx = x.unsqueeze(-1).pow(p)
    model = with_weights(torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0, 1)))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    for _ in range(20):
        loss = torch.nn.MSELoss(reduction="sum")(model(xx), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    linear_layer = model[0]
    return losses, linear_layer.bias.item(), linear_layer.weight[:, 0].item(), device.type


@program
def what_is_torch_nn_really(folder):
    import torch
    import torch.nn.functional as F
    from torch import nn, optim
    from torch.utils.data import DataLoader, TensorDataset

    x_train, y_train = map(torch.tensor, (numbers(32, 784), labels(32, 10)))
    n, c = x_train.shape
    weights = torch.tensor(numbers(784, 10)) / 28
    weights.requires_grad_()
    bias = torch.zeros(10, requires_grad=True)

    def log_softmax(x):
        return x - x.exp().sum(-1).log().unsqueeze(-1)

    def nll(input, target):
        return -input[range(target.shape[0]), target].mean()

    def accuracy(out, yb):
        return (torch.argmax(out, dim=1) == yb).float().mean()

    losses = []
    bs, lr = 8, 0.5
    for _ in range(2):
        for i in range((n - 1) // bs + 1):
            xb, yb = x_train[i * bs : i * bs + bs], y_train[i * bs : i * bs + bs]
            loss = nll(log_softmax(xb @ weights + bias), yb)
            loss.backward()
            with torch.no_grad():
                weights -= weights.grad * lr
                bias -= bias.grad * lr
                weights.grad.zero_()
                bias.grad.zero_()
            losses.append(loss.item())

    class Lambda(nn.Module):
        def __init__(self, func):
            super().__init__()
            self.func = func

        def forward(self, x):
            return self.func(x)

    model = nn.Sequential(
        Lambda(lambda x: x.view(-1, 1, 28, 28)),
        nn.Conv2d(1, 16, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 10, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(4),
        Lambda(lambda x: x.view(x.size(0), -1)),
    )
    with_weights(model)
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def loss_batch(model, loss_func, xb, yb, opt=None):
        loss = loss_func(model(xb), yb)
        if opt is not None:
            loss.backward()
            opt.step()
            opt.zero_grad()
        return loss.item(), len(xb)

    train_dl = DataLoader(TensorDataset(x_train, y_train), batch_size=bs)
    for _ in range(2):
        model.train()
        for xb, yb in train_dl:
            loss_batch(model, F.cross_entropy, xb, yb, opt)
        model.eval()
        with torch.no_grad():
            found, nums = zip(*[loss_batch(model, F.cross_entropy, xb, yb) for xb, yb in train_dl])
        losses.append(np.sum(np.multiply(found, nums)) / np.sum(nums))
    return losses, accuracy(model(x_train), y_train).item()


@program
def mnist_example(folder):
    import argparse

    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    import torch.optim as optim
    from torch.optim.lr_scheduler import StepLR

    class Net(nn.Module):
        def __init__(self):
            super(Net, self).__init__()
            self.conv1 = nn.Conv2d(1, 8, 3, 1)
            self.conv2 = nn.Conv2d(8, 8, 3, 1)
            self.dropout1 = nn.Dropout(0.0)
            self.dropout2 = nn.Dropout(0.0)
            self.fc1 = nn.Linear(288, 32)
            self.fc2 = nn.Linear(32, 10)

        def forward(self, x):
            x = self.conv1(x)
            x = F.relu(x)
            x = self.conv2(x)
            x = F.relu(x)
            x = F.max_pool2d(x, 2)
            x = self.dropout1(x)
            x = torch.flatten(x, 1)
            x = self.fc1(x)
            x = F.relu(x)
            x = self.dropout2(x)
            x = self.fc2(x)
            output = F.log_softmax(x, dim=1)
            return output

    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7)
    args = parser.parse_args([])
    torch.manual_seed(1)
    use_accel = torch.accelerator.is_available()
    device = torch.accelerator.current_accelerator() if use_accel else torch.device("cpu")
    dataset = torch.utils.data.TensorDataset(torch.tensor(numbers(16, 1, 16, 16)), torch.tensor(labels(16, 10)))
    kwargs = {"batch_size": 8}
    if use_accel:
        kwargs.update({"num_workers": 1, "persistent_workers": True, "pin_memory": True, "shuffle": True})
    train_loader = torch.utils.data.DataLoader(dataset, **kwargs)
    model = with_weights(Net()).to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    losses = []
    for _ in range(2):
        model.train()
        for data, target in train_loader:
            data, target = data.to(device), target.to(device)
            optimizer.zero_grad()
            output = model(data)
            loss = F.nll_loss(output, target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        test_loss, correct = 0, 0
        with torch.no_grad():
            for data, target in train_loader:
                output = model(data.to(device))
                test_loss += F.nll_loss(output, target, reduction="sum").item()
                pred = output.argmax(dim=1, keepdim=True)
                correct += pred.eq(target.view_as(pred)).sum().item()
        losses += [test_loss, correct, scheduler.get_last_lr()[0]]
        scheduler.step()
    torch.save(model.state_dict(), folder / "mnist_cnn.pt")
    return losses


@program
def transfer_learning(folder):
    import copy

    import torch
    import torch.nn as nn
    import torch.optim as optim
    from torch.optim import lr_scheduler

    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
            self.pool = nn.AdaptiveAvgPool2d((1, 1))
            self.fc = nn.Linear(8, 100)

        def forward(self, x):
            return self.fc(torch.flatten(self.pool(self.features(x)), 1))

    torch.backends.cudnn.benchmark = True
    model = with_weights(Backbone())
    for param in model.parameters():
        param.requires_grad = False
    num_ftrs = model.fc.in_features
    model.fc = nn.Linear(num_ftrs, 2)
    with_weights(model.fc)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.fc.parameters(), lr=0.001, momentum=0.9)
    scheduler = lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    inputs, targets = torch.tensor(numbers(6, 3, 8, 8)), torch.tensor(labels(6, 2))
    best_acc, found = 0.0, []
    best = copy.deepcopy(model.state_dict())
    for _ in range(3):
        for phase in ["train", "val"]:
            model.train() if phase == "train" else model.eval()
            running_loss, running_corrects = 0.0, 0
            optimizer.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                outputs = model(inputs)
                _, preds = torch.max(outputs, 1)
                loss = criterion(outputs, targets)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
            running_loss += loss.item() * inputs.size(0)
            running_corrects += torch.sum(preds == targets)
            if phase == "train":
                scheduler.step()
            epoch_acc = running_corrects.double() / len(inputs)
            found += [running_loss, epoch_acc.item()]
            if phase == "val" and epoch_acc > best_acc:
                best_acc = epoch_acc
                best = copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    return found, [each.requires_grad for each in model.parameters()]


@program
def dcgan(folder):
    import torch
    import torch.nn as nn
    import torch.optim as optim

    nz, ngf, ndf, nc = 8, 4, 4, 3

    def weights_init(m):
        classname = m.__class__.__name__
        if classname.find("Conv") != -1:
            nn.init.constant_(m.weight.data, 0.02)
        elif classname.find("BatchNorm") != -1:
            nn.init.constant_(m.weight.data, 1.0)
            nn.init.constant_(m.bias.data, 0)

    netG = nn.Sequential(
        nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
        nn.BatchNorm2d(ngf * 2),
        nn.ReLU(True),
        nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ngf),
        nn.ReLU(True),
        nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    netD = nn.Sequential(
        nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(ndf * 2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(ndf * 2, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
    )
    netG.apply(weights_init)
    netD.apply(weights_init)
    with_weights(netG)
    with_weights(netD, 1)
    criterion = nn.BCELoss()
    real_label, fake_label = 1.0, 0.0
    optimizerD = optim.Adam(netD.parameters(), lr=0.0002, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=0.0002, betas=(0.5, 0.999))
    found = []
    for i in range(2):
        netD.zero_grad()
        real_cpu = torch.tensor(numbers(4, nc, 16, 16, seed=i))
        b_size = real_cpu.size(0)
        label = torch.full((b_size,), real_label, dtype=torch.float)
        output = netD(real_cpu).view(-1)
        errD_real = criterion(output, label)
        errD_real.backward()
        D_x = output.mean().item()
        noise = torch.tensor(numbers(b_size, nz, 1, 1, seed=9 + i))
        fake = netG(noise)
        label.fill_(fake_label)
        output = netD(fake.detach()).view(-1)
        errD_fake = criterion(output, label)
        errD_fake.backward()
        errD = errD_real + errD_fake
        optimizerD.step()
        netG.zero_grad()
        label.fill_(real_label)
        output = netD(fake).view(-1)
        errG = criterion(output, label)
        errG.backward()
        optimizerG.step()
        found += [D_x, errD.item(), errG.item(), output.mean().item()]
    return found


@program
def vae(folder):
    import torch
    from torch import nn, optim
    from torch.nn import functional as F

    class VAE(nn.Module):
        def __init__(self):
            super(VAE, self).__init__()
            self.fc1 = nn.Linear(64, 32)
            self.fc21 = nn.Linear(32, 4)
            self.fc22 = nn.Linear(32, 4)
            self.fc3 = nn.Linear(4, 32)
            self.fc4 = nn.Linear(32, 64)

        def encode(self, x):
            h1 = F.relu(self.fc1(x))
            return self.fc21(h1), self.fc22(h1)

        def reparameterize(self, mu, logvar):
            std = torch.exp(0.5 * logvar)
            eps = torch.randn_like(std) * 0 + 0.5
            return mu + eps * std

        def decode(self, z):
            h3 = F.relu(self.fc3(z))
            return torch.sigmoid(self.fc4(h3))

        def forward(self, x):
            mu, logvar = self.encode(x.view(-1, 64))
            z = self.reparameterize(mu, logvar)
            return self.decode(z), mu, logvar

    def loss_function(recon_x, x, mu, logvar):
        BCE = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction="sum")
        KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return BCE + KLD

    model = with_weights(VAE())
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    data = torch.tensor(numbers(8, 1, 8, 8)).sigmoid()
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        recon_batch, mu, logvar = model(data)
        loss = loss_function(recon_batch, data, mu, logvar)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    comparison = torch.cat([data[:4], recon_batch.view(8, 1, 8, 8)[:4]])
    return losses, comparison.cpu().sum().item()


@program
def knowledge_distillation(folder):
    import torch
    import torch.nn as nn
    import torch.optim as optim

    def network(width):
        return nn.Sequential(
            nn.Conv2d(3, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(width * 16, 5),
        )

    teacher, student = with_weights(network(8)), with_weights(network(4), 1)
    inputs, targets = torch.tensor(numbers(6, 3, 8, 8)), torch.tensor(labels(6, 5))
    ce_loss, optimizer = nn.CrossEntropyLoss(), optim.Adam(student.parameters(), lr=0.001)
    T, losses = 2, []
    teacher.eval()
    student.train()
    for _ in range(3):
        optimizer.zero_grad()
        with torch.no_grad():
            teacher_logits = teacher(inputs)
        student_logits = student(inputs)
        soft_targets = nn.functional.softmax(teacher_logits / T, dim=-1)
        soft_prob = nn.functional.log_softmax(student_logits / T, dim=-1)
        soft_targets_loss = torch.sum(soft_targets * (soft_targets.log() - soft_prob)) / soft_prob.size()[0] * (T**2)
        cosine = nn.CosineEmbeddingLoss()(student_logits, teacher_logits, target=torch.ones(inputs.size(0)))
        loss = 0.25 * soft_targets_loss + 0.75 * ce_loss(student_logits, targets) + cosine
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@program
def mixup_and_accumulation(folder):
    import torch
    import torch.nn as nn

    def mixup_data(x, y, lam):
        index = torch.tensor(np.random.default_rng(1).permutation(len(x)))
        mixed_x = lam * x + (1 - lam) * x[index, :]
        return mixed_x, y, y[index], lam

    model = with_weights(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=1e-2)
    accumulation_steps, losses = 2, []
    optimizer.zero_grad(set_to_none=True)
    for i in range(4):
        x, y_a, y_b, lam = mixup_data(
            torch.tensor(numbers(5, 3, 2, 2, seed=i)), torch.tensor(labels(5, 3, seed=i)), 0.3
        )
        outputs = model(x)
        loss = lam * criterion(outputs, y_a) + (1 - lam) * criterion(outputs, y_b)
        (loss / accumulation_steps).backward()
        losses.append(loss.item())
        if (i + 1) % accumulation_steps == 0:
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.5)
            losses.append(norm.item())
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return losses


@program
def amp_recipe(folder):
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = with_weights(torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))).to(device)
    opt = torch.optim.SGD(net.parameters(), lr=0.001)
    loss_fn = torch.nn.MSELoss()
    scaler = torch.amp.GradScaler(device, enabled=False)
    losses = []
    for i in range(3):
        input, target = torch.tensor(numbers(4, 16, seed=i)), torch.tensor(numbers(4, 4, seed=i))
        with torch.autocast(device_type=device, dtype=torch.float16, enabled=False):
            output = net(input)
            loss = loss_fn(output, target)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.1)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
        losses.append(loss.item())
    checkpoint = {"model": net.state_dict(), "optimizer": opt.state_dict(), "scaler": scaler.state_dict()}
    torch.save(checkpoint, folder / "amp.pt")
    loaded = torch.load(folder / "amp.pt", map_location=device)
    net.load_state_dict(loaded["model"])
    opt.load_state_dict(loaded["optimizer"])
    scaler.load_state_dict(loaded["scaler"])
    return losses


@program
def saving_and_loading(folder):
    import torch
    from torch import nn, optim

    net = with_weights(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    nn.functional.cross_entropy(net(torch.tensor(numbers(5, 4))), torch.tensor(labels(5, 2))).backward()
    optimizer.step()
    torch.save(
        {"epoch": 5, "model_state_dict": net.state_dict(), "optimizer_state_dict": optimizer.state_dict(), "loss": 0.4},
        folder / "model.pt",
    )
    other = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    again = optim.SGD(other.parameters(), lr=0.1)
    checkpoint = torch.load(folder / "model.pt", weights_only=True)
    other.load_state_dict(checkpoint["model_state_dict"])
    again.load_state_dict(checkpoint["optimizer_state_dict"])
    for name, param in net.state_dict().items():
        assert torch.equal(param, other.state_dict()[name])
    missing = other.load_state_dict({"0.weight": net.state_dict()["0.weight"]}, strict=False)
    sizes = {name: tuple(each.size()) for name, each in net.state_dict().items()}
    momentum = again.state_dict()["state"][0]["momentum_buffer"].tolist()
    return checkpoint["epoch"], checkpoint["loss"], again.param_groups[0]["lr"], momentum, missing.missing_keys, sizes


@program
def resnet_from_scratch(folder):
    import torch
    import torch.nn as nn

    class ResidualBlock(nn.Module):
        def __init__(self, in_channels, out_channels, stride=1, downsample=None):
            super(ResidualBlock, self).__init__()
            self.conv1 = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(),
            )
            self.conv2 = nn.Sequential(
                nn.Conv2d(out_channels, out_channels, kernel_size=3, stride=1, padding=1), nn.BatchNorm2d(out_channels)
            )
            self.downsample = downsample
            self.relu = nn.ReLU()

        def forward(self, x):
            residual = x
            out = self.conv2(self.conv1(x))
            if self.downsample:
                residual = self.downsample(x)
            out += residual
            return self.relu(out)

    class ResNet(nn.Module):
        def __init__(self, block, layers, num_classes=10):
            super(ResNet, self).__init__()
            self.inplanes = 8
            self.conv1 = nn.Sequential(
                nn.Conv2d(3, 8, kernel_size=7, stride=2, padding=3), nn.BatchNorm2d(8), nn.ReLU()
            )
            self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
            self.layer0 = self._make_layer(block, 8, layers[0], stride=1)
            self.layer1 = self._make_layer(block, 16, layers[1], stride=2)
            self.avgpool = nn.AvgPool2d(2, stride=1)
            self.fc = nn.Linear(16, num_classes)
            for m in self.modules():
                if isinstance(m, nn.Conv2d):
                    nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

        def _make_layer(self, block, planes, blocks, stride=1):
            downsample = None
            if stride != 1 or self.inplanes != planes:
                downsample = nn.Sequential(
                    nn.Conv2d(self.inplanes, planes, kernel_size=1, stride=stride), nn.BatchNorm2d(planes)
                )
            layers = [block(self.inplanes, planes, stride, downsample)]
            self.inplanes = planes
            for _ in range(1, blocks):
                layers.append(block(self.inplanes, planes))
            return nn.Sequential(*layers)

        def forward(self, x):
            x = self.layer1(self.layer0(self.maxpool(self.conv1(x))))
            x = self.avgpool(x)
            x = x.view(x.size(0), -1)
            return self.fc(x)

    model = with_weights(ResNet(ResidualBlock, [1, 2]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0.001, momentum=0.9)
    images, targets = torch.tensor(numbers(4, 3, 16, 16)), torch.tensor(labels(4, 10))
    losses = []
    for _ in range(3):
        loss = nn.CrossEntropyLoss()(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        del loss
        torch.cuda.empty_cache()
    total = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return losses, total


def run(name, folder, library, monkeypatch):
    folder.mkdir()
    if library is gpunet:
        monkeypatch.setitem(sys.modules, "torch", gpunet)
        for each in NAMES:
            monkeypatch.setitem(sys.modules, f"torch.{each}", importlib.import_module(f"gpunet.{each}"))
    return PROGRAMS[name](folder)


def flat(value):
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [each for part in value for each in flat(part)] if isinstance(value, list | tuple) else [value]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_tutorial_gives_what_it_gives_with_pytorch(name, tmp_path, monkeypatch, torch, numpy_backend):
    # PyTorch's own tests, if some were imported before, forbid programs to set anything of its backends.
    with getattr(torch.backends, "__allow_nonbracketed_mutation")():
        right = flat(run(name, tmp_path / "torch", torch, monkeypatch))
    got = flat(run(name, tmp_path / "gpunet", gpunet, monkeypatch))
    assert [each for each in got if isinstance(each, str)] == [each for each in right if isinstance(each, str)]
    figures = [np.array([each for each in found if not isinstance(each, str)], dtype=float) for found in (got, right)]
    np.testing.assert_allclose(*figures, rtol=2e-4, atol=1e-5)
