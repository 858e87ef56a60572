"""What is unlabelled text worth, read by the language models, and then learnt from by a student? Test errors in both directions

    python experiments/unlabelled.py FOLDER [TASK:LABELS:SEED ...]

As in grid.py, whose rows without unlabelled text are the comparison; but the language models have read all training texts of the task, without their labels (of IMDb, they are the pair
in $ULMFIT_FIELD). The student learns from the teacher's answers on up to 5,000 of them, with the defaults of `self_train`.
FOLDER keeps the language models. Finished cells are kept in results/unlabelled.jsonl, and not trained again."""
import os
import sys
import time
from pathlib import Path
from fastai.torch_core import set_seed
from tasks import few_labels, measure, test_part, training_part
from ulmfit_ext.all import *

LOG = Path(__file__).parent/'results'/'unlabelled.jsonl'
FOLDER = Path(sys.argv[1]) if len(sys.argv)>1 else None


def language_models(task, texts):
    "The folder of a pair that has read `texts`"
    if task=='imdb': return os.environ['ULMFIT_FIELD']
    for d in ('fwd', 'bwd'):
        corpus = TextCorpus.from_df(texts, valid_pct=.1, known=pretrained('mini', d).vocab)
        set_seed(42)
        finetune_lm(corpus.lm_dls(16, 70, d=='bwd', vary_len=True), 'mini', run_dir=FOLDER/task/d, resume=True, progress=False)
    return FOLDER/task


def cell(task, n, seed):
    few, train, test = few_labels(task, n, seed), training_part(task), test_part(task)
    lms, more = language_models(task, train[['text']]), train.text.sample(min(5000, len(train)), random_state=seed).tolist()
    how = dict(pretrained=lms, lm_kwargs=dict(epochs=0), seed=seed, progress=False, rival=False)
    errors = lambda ens: ens.report(test.text.tolist(), test.label)['error %'].round(2).to_dict()
    start = time.time()
    teacher = ulmfit(few, **how)
    row = dict(teacher=errors(teacher), teacher_seconds=round(time.time()-start))
    start = time.time()
    student = self_train(teacher, more, seed=seed, progress=False)
    row.update(student=errors(student), student_seconds=round(time.time()-start), documents=len(test))
    return row


if __name__=='__main__': measure(cell, LOG, sys.argv[2:] or [f'{t}:{n}:{s}' for s in (1, 2, 3) for n in (100, 500) for t in ('trec6', 'sst2', 'mr')])
