"Would int8 pay? The encoder's LSTMs in fp32, bf16 and with dynamically quantised int8 weights, on batches of 128 x 70 tokens"
import copy
import statistics
import warnings
from common import save, timed
import torch
from torch import nn
from ulmfit_ext.lm import SIZES


def run(layers, x):
    for l in layers: x, _ = l(x)
    return x


if __name__=='__main__':
    warnings.filterwarnings('ignore')
    rows = []
    for size in ('small', 'paper'):
        torch.manual_seed(0)
        e, h, _ = SIZES[size].values()
        models = dict(fp32=nn.Sequential(*[nn.LSTM(i, o, batch_first=True) for i, o in ((e, h), (h, h), (h, e))]).eval())
        models |= dict(bf16=copy.deepcopy(models['fp32']).bfloat16(), int8=torch.ao.quantization.quantize_dynamic(copy.deepcopy(models['fp32']), {nn.LSTM}, dtype=torch.qint8))
        x, rates = torch.randn(128, 70, e)*.1, {k:[] for k in models}
        with torch.inference_mode():
            want = run(models['fp32'], x)
            for _ in range(9):
                for k, m in models.items():
                    seconds, got = timed(run, m, x.bfloat16() if k=='bf16' else x)
                    rates[k].append((128*70/seconds, float((got.float()-want).abs().max()/want.abs().max())))
        rows.append(dict(what=f'LSTMs, {size}', unit='tokens/s', **{k:round(statistics.median(r for r, _ in v[1:])) for k, v in rates.items()},
                         **{f'{k}_off_percent':round(100*v[-1][1], 2) for k, v in rates.items() if k!='fp32'}))
    save('int8', rows)
