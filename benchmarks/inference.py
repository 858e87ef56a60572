"Answers for IMDb test reviews from raw text: `Predictor` against `get_preds` and `predict` of a fastai learner"
import os
import statistics
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from common import SIZES, imdb, main, pair, save, timed


def one(which, size, n):
    from fastai.text.all import AWD_LSTM, TextDataLoaders, awd_lstm_clas_config, text_classifier_learner
    from ulmfit_ext.classifier import classifier_learner
    from ulmfit_ext.data.corpus import TextCorpus
    from ulmfit_ext.infer.predict import load_predictor
    import ulmfit_ext.data.loaders
    n_words = {'paper':60000, 'small':16000}[size]
    df, texts = imdb(200).assign(is_valid=lambda d: d.index<64), imdb(int(n), 'test').text.tolist()
    with open(os.devnull, 'w') as null, redirect_stdout(null), tempfile.TemporaryDirectory() as tmp:
        c = TextCorpus.from_df(imdb(5000), min_freq=1)
        vocab = c.vocab[:n_words]+[f'unseen{i}' for i in range(n_words-len(c.vocab))]
        if which=='stock':
            dls = TextDataLoaders.from_df(df, text_col='text', label_col='label', valid_col='is_valid', text_vocab=vocab, bs=64, seq_len=70)
            learn = text_classifier_learner(dls, AWD_LSTM, seq_len=70, config={**awd_lstm_clas_config, **SIZES[size]}, pretrained=False)
            many, alone = lambda t: learn.get_preds(dl=learn.dls.test_dl(t)), learn.predict
        else:
            learn = classifier_learner(TextCorpus.from_df(df, label_col='label', valid_col='is_valid', vocab=vocab).clas_dls(), config=SIZES[size])
            pred = load_predictor(learn.save_bundle(Path(tmp)/'model'), 'fp32' if which=='ours' else 'bf16')
            many, alone = lambda t: pred.predict_proba(t, progress=False), lambda t: pred.predict_proba([t], progress=False)
        alone(texts[0])
        s, _ = timed(many, texts)
        latency = statistics.median(timed(alone, t)[0] for t in texts[:20])
    return dict(rate=len(texts)/s, latency=1000*latency)


def all_():
    from common import child
    rows = []
    for size, n in (('paper', 150), ('small', 500)):
        r = pair(__file__, size, n, repeat=2)
        low = statistics.median(child(__file__, 'bf16', size, n)['rate'] for _ in range(2))
        rows += [dict(what=f'inference, {size}', unit='reviews/s', **r['rate']), dict(what=f'inference in bf16, {size}', unit='reviews/s', ours=low, stock=r['rate']['stock'], ratio=low/r['rate']['stock']),
                 dict(what=f'one review, {size}', unit='ms', **r['latency'])]
    save('inference', rows)


if __name__=='__main__': main(one, all_)
