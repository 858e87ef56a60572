"""Test errors of the default recipe on the suite, by the number of labels: each direction, both, with TF-IDF, and TF-IDF alone

    python experiments/grid.py [TASK:LABELS:SEED ...]

Tasks are sst2, mr, trec6, news20 and imdb; 0 labels are all. SST-2, TREC-6, 20 Newsgroups and IMDb (5,000 reviews) are tested on their official test parts, MR on every tenth
sentence; a seed draws the labels. Language models read the labelled texts alone; of IMDb, they are the pair in $ULMFIT_FIELD, which has read unlabelled reviews. Finished cells
are kept in results/grid.jsonl, and not trained again. Nothing was chosen on these test parts."""
import os
import sys
import time
from pathlib import Path
from tasks import few_labels, measure, test_part
from ulmfit_ext.all import *

LOG = Path(__file__).parent/'results'/'grid.jsonl'


def cell(task, n, seed):
    few, start = few_labels(task, n, seed), time.time()
    read = dict(pretrained=os.environ['ULMFIT_FIELD'], lm_kwargs=dict(epochs=0)) if task=='imdb' else {}
    clf = ulmfit(few, seed=seed, linear=True, progress=False, **read)
    seconds, test = time.time()-start, test_part(task)
    rep = clf.report(test.text.tolist(), test.label)
    return dict(errors=rep['error %'].round(2).to_dict(), high=rep.high.round(2).to_dict(), weight=round(clf.rival.weight, 2), seconds=round(seconds), documents=len(test))


if __name__=='__main__':
    measure(cell, LOG, sys.argv[1:] or [f'{t}:{n}:{s}' for s in (1, 2, 3) for n in (100, 500, 1000) for t in ('sst2', 'trec6', 'mr')])
