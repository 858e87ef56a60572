"""Does a student that learns from a classifier's answers on unlabelled reviews beat it? Forward, IMDb, test error on 2,000 reviews

    python experiments/self_training.py LM [LABELS:SEED ...]

LM is the folder of a language model that has read unlabelled reviews. The teacher learns from the labels; the student starts from the same language model, learns from the more
confident third of 3,000 unlabelled reviews of each class, with smoothed labels and twice the word dropout, and then from the labels at a third of the rate. Results go to
results/self_training.jsonl."""
import json
import sys
import time
from pathlib import Path
import numpy as np
import pandas as pd
sys.path.insert(0, str(Path(__file__).parents[1]/'benchmarks'))
from common import data
from fastai.losses import LabelSmoothingCrossEntropyFlat
from fastai.torch_core import set_seed
from sklearn.model_selection import train_test_split
from ulmfit_ext.all import *

LOG = Path(__file__).parent/'results'/'self_training.jsonl'


def read(part): return pd.read_json(data()/f'imdb-{part}.jsonl.xz', lines=True)[['text', 'label']]


def classifier(df, encoder, vocab, seed, labels=None, loss=None, **clas):
    corpus = TextCorpus.from_df(df, label_col='label', valid_pct=.05, vocab=vocab, seed=seed)
    recipe = get_recipe('default').replace(clas=clas)
    set_seed(seed)
    return finetune_classifier(corpus.clas_dls(recipe.clas.bs), encoder, recipe, progress=False, loss_func=loss)


def error(learn, test): return round(100*float((np.array(Ensemble(learn).predictor.predict(test.text.tolist(), progress=False))!=test.label).mean()), 2)


def main(lm, jobs):
    vocab, train, more, test = pretrained(lm, 'fwd').vocab, read('train'), read('unsup').sample(3000, random_state=1), read('test').sample(2000, random_state=0)
    for job in jobs:
        n, seed = map(int, job.split(':'))
        few = train_test_split(train, train_size=n, random_state=seed, stratify=train.label)[0]
        start = time.time()
        teacher = classifier(few, lm, vocab, seed, epochs=10)
        row = dict(labels=n, seed=seed, teacher=error(teacher, test), teacher_seconds=round(time.time()-start))
        row['teacher, three more epochs'] = error(classifier(few, teacher, vocab, seed, epochs=3, unfreeze='full', lr=.01/3), test) # is it the student, or the epochs?
        print(row, flush=True)
        p = Ensemble(teacher).predictor.predict_proba(more.text.tolist(), progress=False)
        sure = np.concatenate([np.argsort(-p[:, i])[:len(more)//6] for i in range(2)]) # a third in all
        pseudo = more.iloc[sure].assign(label=np.repeat(teacher.dls.labels, len(more)//6))
        student = classifier(pseudo, lm, vocab, seed, loss=LabelSmoothingCrossEntropyFlat(eps=.1), epochs=6, embed_p=.1)
        row['student before labels'] = error(student, test)
        last = classifier(few, student, vocab, seed, epochs=3, unfreeze='full', lr=.01/3)
        row.update(student=error(last, test), seconds=round(time.time()-start))
        print(row, flush=True)
        with open(LOG, 'a') as f: f.write(json.dumps(row)+'\n')


if __name__=='__main__': main(sys.argv[1], sys.argv[2:] or ['500:1', '500:2', '100:1'])
