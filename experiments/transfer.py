"""What transfer is worth: test error by the number of labels, from scratch, with a language model of the task's text alone, and from pretrained ones

    python experiments/transfer.py PRETRAINED FOLDER [TASK[:SOURCE[:PART[:LABELS]]] ...]

PRETRAINED is what `finetune_lm` takes, FOLDER keeps language models, and classifiers while they learn. Finished cells are kept in results/transfer.jsonl: called again, the script
goes on where it was (remove them when the weights are others). Sources are 'tf-idf', 'scratch', 'own' and 'pretrained'. A part is 'fwd' or 'bwd', that language model alone,
or a seed; LABELS is one of the numbers of labels. Processes with other arguments may work side by side, once the language models are there.
Language models are shared by all numbers of labels and all seeds. A seed draws the labelled documents, the first weights and the order.
The grid is planned by its cost: from scratch and with the task's own language model, classifiers read forward only, and those of IMDb with 5,000 labels have one seed. IMDb is
tested on 5,000 reviews, always the same, TF-IDF with logistic regression on the same ones; its language models read each text once, so with the light dropout of pretraining and a sampled softmax, those of 'imdb+again' the same
texts once more, and those of 'imdb+unsup' the unlabelled ones after them, each with a triangle of learning rates of its own; its answers are in bf16 where that is faster."""
import json
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
import pandas as pd
sys.path.insert(0, str(Path(__file__).parents[1]/'benchmarks'))
from common import RESULTS, SOURCE_NAMES, TASK_NAMES, data, machine
from fastai.torch_core import set_seed
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from ulmfit_ext.all import *
from ulmfit_ext.train.precision import fast_bf16

MINI = dict(emb_sz=256, n_hid=512, n_layers=3)

SEEDS = (1, 2, 3)
# numbers of labels with the classifier's epochs and batches, documents to watch; the language model's epochs, and of one that starts from nothing, batches, dropouts likewise (`own_dropout.py`) and loss
_imdb = dict(sizes={100:(15, 16), 500:(10, 16), 1000:(8, 32), 5000:(4, 32)}, watch=20, lm=1, own=2, lm_bs=32, drop_mult=.4, own_drop=.4, softmax='sampled')
TASKS = {'trec6':dict(sizes={100:(20, 32), 500:(20, 32), 0:(10, 32)}, watch=200, lm=4, own=15, lm_bs=16, drop_mult=1, own_drop=4, softmax='full'), 'imdb':_imdb, 'imdb+again':_imdb, 'imdb+unsup':_imdb}


def texts_of(task):
    "Labelled documents, those that language models go on to read after them, and test documents"
    if task=='trec6': return pd.read_csv(data()/'trec6-train.csv'), None, pd.read_csv(data()/'trec6-test.csv')
    read = lambda part: pd.read_json(data()/f'imdb-{part}.jsonl.xz', lines=True)
    train, then = read('train'), task.partition('+')[2]
    return train, train if then=='again' else read(then) if then else None, read('test').sample(5000, random_state=0)


def language_model(task, source, direction, folder, train, extra, start):
    "Folder of a language model of the task's text; the one that reads on goes on from that of the training text"
    run = folder/f'{task}-{source}-{direction}'
    if not (run/'model').exists():
        corpus = TextCorpus.from_df(train, valid_pct=.02)
        if extra is not None:
            start = language_model(task.split('+')[0], source, direction, folder, train, None, start)
            corpus = TextCorpus.from_df(extra, valid_pct=.02, vocab=pretrained(start, direction).vocab)
        t = TASKS[task]
        recipe = get_recipe('default').replace(lm=dict(bs=t['lm_bs']))
        phase = recipe.pre if start is None else recipe.lm
        set_seed(42)
        finetune_lm(corpus.lm_dls(phase.bs, phase.seq_len, direction=='bwd', phase.vary_len), start, recipe, t['own' if start is None else 'lm'],
                    run_dir=run, resume=True, config=MINI if start is None else None, cbs=BlockLoss(t['softmax']), drop_mult=t['own_drop' if start is None else 'drop_mult'])
    return run/'model'


def draw(train, n, seed, watch):
    "`n` labelled documents, and others to watch; with `n` 0 all but a twentieth"
    sub, rest = train_test_split(train, train_size=n or .95, random_state=seed, stratify=train.label)
    return pd.concat([sub.assign(is_valid=False), rest.sample(min(len(rest), watch), random_state=0).assign(is_valid=True)], ignore_index=True)


def classify(task, lms, df, test, n, seed, runs):
    "Test errors by direction, and of both"
    (epochs, bs), learns = TASKS[task]['sizes'][n], {}
    vocab = None if lms['fwd'] is None else pretrained(lms['fwd'], 'fwd').vocab
    corpus = TextCorpus.from_df(df, label_col='label', valid_col='is_valid', vocab=vocab, seed=seed)
    recipe = get_recipe('default').replace(clas=dict(bs=bs))
    if lms['fwd'] is None: recipe = recipe.replace(clas=dict(lr=.005, unfreeze='full', factor=1.)) # all of it learns from the start
    for k, lm in lms.items():
        set_seed(seed)
        learns[k] = finetune_classifier(corpus.clas_dls(recipe.clas.bs, k=='bwd'), lm, recipe, epochs, run_dir=runs/k, resume=True, config=None if lm else MINI)
    ens = Ensemble(learns['fwd'], learns.get('bwd'))
    if not task.startswith('imdb'): return ens.report(test.text, test.label)['error %'].to_dict()
    with TemporaryDirectory() as tmp:
        pred = load_predictor(ens.export(Path(tmp)/'model'), 'bf16' if fast_bf16() else 'fp32')
        return error_table(pred.outputs(test.text, progress=False), ens.targets(test.label), ens.task)['error %'].to_dict()


def tfidf(df, test):
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)).fit(df.text[~df.is_valid], df.label[~df.is_valid])
    return {'tf-idf':100*float((model.predict(test.text)!=test.label).mean())}


def main(start, folder, tasks):
    folder.mkdir(parents=True, exist_ok=True)
    log = RESULTS/'transfer.jsonl'
    done = {tuple(c['cell']) for c in cells(log)}
    for task, only, part, labels in ((t+':::').split(':')[:4] for t in tasks):
        train, extra, test = texts_of(task)
        if part in ('fwd', 'bwd'):
            language_model(task, only, part, folder/'lm', train, extra, start if only=='pretrained' else None)
            continue
        for source in ('tf-idf', 'scratch', 'own', 'pretrained'):
            if '+' in task and source!='pretrained' or only not in ('', source): continue
            for n in TASKS[task]['sizes']:
                for seed in SEEDS[:1 if n==5000 else None]:
                    if part not in ('', str(seed)) or labels not in ('', str(n)): continue
                    if (cell := (task, source, n, seed)) in done: continue
                    df, directions = draw(train, n, seed, TASKS[task]['watch']), ('fwd', 'bwd') if source=='pretrained' else ('fwd',)
                    lms = {k:None if source in ('tf-idf', 'scratch') else language_model(task, source, k, folder/'lm', train, extra, start if source=='pretrained' else None) for k in directions}
                    begin, runs = time.time(), folder/'classifiers'/'-'.join(map(str, cell))
                    errors = tfidf(df, test) if source=='tf-idf' else classify(task, lms, df, test, n, seed, runs)
                    with open(log, 'a') as f: f.write(json.dumps(dict(cell=cell, errors={k:round(v, 2) for k, v in errors.items()}, seconds=round(time.time()-begin)))+'\n')
                    shutil.rmtree(runs, ignore_errors=True)
    report(log)


def cells(log):
    "The finished ones"
    return [json.loads(l) for l in log.read_text().splitlines()] if log.exists() else []


def report(log):
    "Means over the seeds as a table, and drawn for tasks with pretrained models, but for each direction alone"
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    rows = [dict(zip(('task', 'source', 'labels', 'seed'), c['cell']), model=m, error=e) for c in cells(log) for m, e in c['errors'].items()]
    d = pd.DataFrame(rows)
    parts = d.task.str.partition('+')
    d['task'], d['source'] = parts[0], parts[2].where(parts[2]!='', d.source)
    d['what'] = d.source.where(d.source.isin(['tf-idf', 'scratch', 'own']), d.source+', '+d.model.replace(dict(ensemble='both', forward='fwd', backward='bwd')))
    d['labels'] = d.labels.replace(0, 5179)
    table = d.groupby(['task', 'what', 'labels']).error.agg(['mean', 'min', 'max', 'count']).round(4)
    print(table.to_string())
    (RESULTS/'transfer.json').write_text(json.dumps(dict(machine=machine(), rows=table.reset_index().to_dict('records')), indent=1)+'\n')
    if not (tasks := list(dict.fromkeys(d.task[d.source=='pretrained']))): return
    fig, axs = plt.subplots(1, len(tasks), figsize=(max(5.5*len(tasks), 7), 4.8), squeeze=False, sharey=True, layout='constrained')
    for ax, task in zip(axs[0], tasks):
        found = table.loc[task]
        labels = sorted(set(d.labels[(d.task==task) & (d.source=='pretrained')])) # baselines alone say nothing
        for i, (what, name) in enumerate((k, v) for k, v in SOURCE_NAMES.items() if not k.endswith(('fwd', 'bwd'))):
            if what not in found.index: continue
            g = found.loc[what]
            g = g[g.index.isin(labels)]
            ax.errorbar(g.index*1.015**(i-2), g['mean'], [g['mean']-g['min'], g['max']-g['mean']], color=f'C{i}', ls='--' if i<3 else '-', marker='o', ms=4, lw=1.2, capsize=2, label=name.replace('`', ''))
        ax.set(title=TASK_NAMES[task], xscale='log', xlabel='labels', ylim=(0, None))
        ax.set_xticks(labels, [f'{n:,}' for n in labels])
        ax.minorticks_off()
    axs[0, 0].set_ylabel('test error %')
    drawn = {label:handle for ax in axs[0] for handle, label in zip(*ax.get_legend_handles_labels())}
    fig.legend(drawn.values(), drawn, loc='outside lower center', ncols=2)
    fig.savefig(RESULTS/'transfer.png', dpi=110)


if __name__=='__main__': main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:] or list(TASKS))
