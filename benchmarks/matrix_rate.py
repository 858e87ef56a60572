"How far training is from what the machine can do: the arithmetic of a step against the measured rate of matrix products"
import json
import statistics
import time
from common import RESULTS, main, save


def rate(dtype, n=2048):
    import torch
    a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
    a@b
    def once():
        start = time.perf_counter()
        a@b
        return time.perf_counter()-start
    return 2*n**3/statistics.median(once() for _ in range(9))


def flops(words, emb, hid, layers=3):
    "Multiplications and additions of a training step for each token: forward, and twice that backward"
    sizes = [(emb if i==0 else hid, emb if i==layers-1 else hid) for i in range(layers)]
    return 3*2*(sum(4*(i*o+o*o) for i, o in sizes) + words*emb)


def all_():
    import torch
    rates = {str(d)[6:]:rate(d) for d in (torch.float32, torch.bfloat16)}
    rows = [dict(what=f'matrix products, {k}', unit='GFLOP/s', ours=v/1e9) for k, v in rates.items()]
    trained = {r['what']:r for r in json.loads((RESULTS/'lm_training.json').read_text())['rows']}
    for name, sizes in (('paper size (60k, 400/1152/3)', (60000, 400, 1152)), ('small (16k, 256/640/3)', (16000, 256, 640))):
        r = trained[f'LM training, {name}']
        rows += [dict(what=f'{who}, part of the {k} rate, {name}', unit='%', ours=100*r[who]*flops(*sizes)/rates[k]) for who, k in (('stock', 'float32'), ('ours', 'bfloat16'))]
    save('matrix_rate', rows)


if __name__=='__main__': main(None, all_)
