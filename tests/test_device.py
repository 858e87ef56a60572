"The same on a GPU as on a CPU; without a GPU the tests compare the CPU with itself, and fp16 is emulated"
import pytest
import torch
from fastai.text.all import set_seed
from ulmfit_ext.all import *
from ulmfit_ext.data.samples import notes
from ulmfit_ext.infer.predict import load_predictor
from ulmfit_ext.models.loss import linear_cross_entropy, sampled_cross_entropy
from conftest import TINY

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'))]
OFF = dict(output_p=0., hidden_p=0., input_p=0., embed_p=0., weight_p=0.)
R = get_recipe('default').replace(name='t', lm=dict(epochs=2, bs=8, seq_len=12, **OFF), clas=dict(epochs=4, bs=10, lr=2e-2, head_p=[0.], **OFF))


def train(device, tmp_path, half=False):
    "A language model and a classifier; losses of each epoch"
    c = TextCorpus.from_df(notes(120), label_col='label', valid_pct=.2)
    cbs = [MixedPrecision()] if half else [AutoPrecision('fp32')]
    set_seed(1)
    lm = finetune_lm(c.lm_dls(8, 12, device=torch.device(device)), None, R, config=TINY, cbs=cbs, progress=False)
    set_seed(1)
    clas = finetune_classifier(c.clas_dls(10, device=torch.device(device)), lm, R, cbs=cbs, progress=False)
    clas.save_bundle(tmp_path/f'{device}-{half}')
    return lm, clas


@pytest.mark.parametrize('device', DEVICES)
def test_losses_are_those_of_a_cpu(device, tmp_path):
    (lm, clas), (want, other) = train(device, tmp_path), train('cpu', tmp_path/'again')
    torch.testing.assert_close(torch.tensor(lm.epochs.train_loss), torch.tensor(want.epochs.train_loss), atol=2e-3, rtol=0)
    texts = ['the boat is late', 'a cart on the road '*30, 'ship']
    a, b = (load_predictor(tmp_path/p/f'{d}-False') for p, d in (('', device), ('again', 'cpu')))
    torch.testing.assert_close(torch.tensor(a.predict_proba(texts)), torch.tensor(b.predict_proba(texts)), atol=.05, rtol=0)


@pytest.mark.parametrize('device', DEVICES)
def test_answers_do_not_depend_on_the_batch(device, tmp_path):
    _, clas = train(device, tmp_path)
    texts = ['the boat is late', 'a cart on the road '*30, 'ship', 'rain']
    def answers(ts):
        with clas.no_bar(): return clas.get_preds(dl=clas.dls.test_dl(ts))[0]
    alone = torch.cat([answers([t]) for t in texts])
    torch.testing.assert_close(answers(texts), alone, atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_fp16_trains_as_fp32(tmp_path):
    (half, a), (full, b) = train('cuda', tmp_path, True), train('cuda', tmp_path)
    assert abs(half.epochs.valid_loss.iloc[-1]-full.epochs.valid_loss.iloc[-1])<.02 and abs(a.epochs.valid_loss.iloc[-1]-b.epochs.valid_loss.iloc[-1])<.05


@pytest.mark.parametrize('loss', [linear_cross_entropy, sampled_cross_entropy])
@pytest.mark.parametrize('scale', [1., 2.**10, 2.**16])
def test_losses_hold_in_fp16(loss, scale):
    "Hidden states and weights rounded to fp16, and a scaled loss, as `MixedPrecision` has them: loss and gradients are near those in fp64, and finite"
    g = torch.Generator().manual_seed(0)
    h, w, b, y = torch.randn(300, 40, generator=g), torch.randn(5000, 40, generator=g)*.3, torch.randn(5000, generator=g)*.1, torch.randint(5000, (300,), generator=g)
    res = {}
    for dtype in (torch.float16, torch.float64):
        a, c, d = (o.half().to(dtype).requires_grad_() for o in (h, w, b))
        torch.manual_seed(0)
        value = loss(a, c, d, y)
        (value.float()*scale if dtype==torch.float16 else value*scale).backward()
        res[dtype] = value.detach().double(), [o.grad.double()/scale for o in (a, c, d)]
    (half, grads), (full, want) = res[torch.float16], res[torch.float64]
    assert half.isfinite() and abs(half-full)<.01*full
    for x, y in zip(grads, want): assert x.isfinite().all() and (x-y).norm()<.02*y.norm()+1e-7
