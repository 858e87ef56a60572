"""Test errors of the default recipe on the suite, by the number of labels: each direction, both, with TF-IDF, and TF-IDF alone

    python experiments/grid.py [TASK:LABELS:SEED ...]

Tasks are sst2, mr, trec6 and news20; 0 labels are all. SST-2, TREC-6 and 20 Newsgroups are tested on their official test parts, MR on every tenth sentence; a seed draws the
labels. Language models read the labelled texts alone. Finished cells are kept in results/grid.jsonl, and not trained again. Nothing was chosen on these test parts."""
import json
import sys
import time
from pathlib import Path
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]/'benchmarks')]
from common import data
from suite import training_part
import pandas as pd
from sklearn.model_selection import train_test_split
from ulmfit_ext.all import *

LOG = Path(__file__).parent/'results'/'grid.jsonl'


def test_part(task):
    if task=='mr': return pd.read_csv(data()/'mr.csv').iloc[::10]
    if task=='news20': return pd.read_json(data()/'news20-test.jsonl.xz', lines=True)
    return pd.read_csv(data()/f'{task}-test.csv')


def cell(task, n, seed):
    train = training_part(task).astype(dict(label=str))
    few = train_test_split(train, train_size=n, random_state=seed, stratify=train.label)[0] if n else train
    start = time.time()
    clf = ulmfit(few.reset_index(drop=True), seed=seed, linear=True, progress=False)
    seconds, test = time.time()-start, test_part(task).astype(dict(label=str))
    rep = clf.report(test.text.tolist(), test.label)
    return dict(errors=rep['error %'].round(2).to_dict(), high=rep.high.round(2).to_dict(), weight=round(clf.rival.weight, 2), seconds=round(seconds), documents=len(test))


def main(jobs):
    done = {tuple(json.loads(l)['cell']) for l in LOG.read_text().splitlines()} if LOG.exists() else set()
    for job in jobs:
        task, n, seed = job.split(':')
        if (key := (task, int(n), int(seed))) in done: continue
        row = dict(cell=key, **cell(*key))
        print(row, flush=True)
        with open(LOG, 'a') as f: f.write(json.dumps(row)+'\n')


if __name__=='__main__': main(sys.argv[1:] or [f'{t}:{n}:{s}' for s in (1, 2, 3) for n in (100, 500, 1000) for t in ('sst2', 'trec6', 'mr')])
