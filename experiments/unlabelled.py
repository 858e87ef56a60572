"""What is unlabelled text worth, read by the language models, and then learnt from by students? Test errors of teachers and students

    python experiments/unlabelled.py [TASK:LABELS:SEED ...]

As in grid.py, whose rows without unlabelled text are the comparison; but 5,000 other training documents are there without their labels: `ulmfit(few, unlabeled=more, linear=True,
self_train=True)`. Finished cells are kept in results/unlabelled.jsonl, and not trained again. Nothing was chosen on these test parts."""
import sys
import time
from pathlib import Path
from tasks import few_labels, measure, test_part, training_part
from ulmfit_ext.all import *

LOG = Path(__file__).parent/'results'/'unlabelled.jsonl'


def cell(task, n, seed):
    few, train, test, start = few_labels(task, n, seed), training_part(task), test_part(task), time.time()
    more = train[~train.text.isin(few.text)].text.sample(frac=1, random_state=seed)[:5000].tolist()
    student = ulmfit(few, unlabeled=more, seed=seed, linear=True, self_train=True, progress=False)
    seconds = time.time()-start
    errors = {k:e.report(test.text.tolist(), test.label)['error %'].round(2).to_dict() for k, e in (('teacher', student.teacher), ('student', student))}
    return dict(errors, unlabelled=len(more), seconds=round(seconds), documents=len(test))


if __name__=='__main__': measure(cell, LOG, sys.argv[1:] or [f'{t}:{n}:{s}' for s in (1, 2, 3) for n in (100, 500) for t in ('trec6', 'sst2', 'mr')])
