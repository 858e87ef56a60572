"All results as one table, printed and put into the front page"
import json
from pathlib import Path
from common import RESULTS

INDEX, MARK = Path(__file__).parents[1]/'nbs'/'index.ipynb', '<!-- benchmarks -->'
ORDER = ['tokenizing', 'data_work', 'loader', 'lm_training', 'classifier_training', 'inference']


def number(x): return '' if x is None else f'{x:,.0f}' if abs(x)>=100 else f'{x:.1f}' if abs(x)>=10 else f'{x:.2f}'


def tables():
    found = {n:json.loads((RESULTS/f'{n}.json').read_text()) for n in [*ORDER, 'scaling', 'matrix_rate', 'same_tokens', 'quality'] if (RESULTS/f'{n}.json').exists()}
    lines = ['| | unit | fastai | ulmfit_ext | ratio |', '|---|---|--:|--:|--:|']
    for n in ORDER:
        for r in found.get(n, {}).get('rows', []):
            lines.append(f"| {r['what']} | {r['unit']} | {number(r.get('stock'))} | {number(r['ours'])} | {number(r['ratio'])+' ×' if 'ratio' in r else ''} |")
    m = next(iter(found.values()))['machine']
    dates = sorted({o['machine']['date'] for o in found.values()})
    text = '\n'.join(lines) + f"\n\nMedians, ours and stock in turn in one run, on {m['cpu']}, {m['threads']} threads, {'with' if m['amx'] else 'without'} AMX, {'with' if m['bf16'] else 'without'} fast bf16; torch {m['torch']}, fastai {m['fastai']}; {dates[-1]}."
    if 'scaling' in found:
        text += '\n\nThe same text read from a file, one process:\n\n| | tokens/s, tokenised and stored | tokens/s, LM batches | memory, MB |\n|---|--:|--:|--:|\n'
        text += '\n'.join(f"| {r['what']} | {r['build']:,} | {r['read']:,} | {r['memory']:,} |" for r in found['scaling']['rows'])
    if 'matrix_rate' in found:
        rows = {r['what']:r['ours'] for r in found['matrix_rate']['rows']}
        text += '\n\nHow near the machine\'s limit: ' + '; '.join(f"{k} {number(v)} {'GFLOP/s' if 'products' in k else '%'}" for k, v in rows.items()) + '.'
    if 'same_tokens' in found:
        rows = found['same_tokens']['rows']
        docs, toks, diff = (sum(r[k] for r in rows) for k in ('documents', 'tokens', 'different'))
        text += f'\n\nThe tokens are the same: all IMDb reviews and articles of Wikipedia, {docs:,} documents with {toks:,} tokens, {diff:,} of them different from fastai\'s (`benchmarks/same_tokens.py`).'
    if 'quality' in found:
        text += '\n\nA language model in bf16 with the loss in blocks, and in fp32 without (`benchmarks/quality.py`): '
        text += '; '.join(f"{r['what']} {r['ours']:.3f} and {r['stock']:.3f}" for r in found['quality']['rows']) + '.'
    return text


if __name__=='__main__':
    text = tables()
    print(text)
    nb = json.loads(INDEX.read_text(encoding='utf8'))
    cell = next(c for c in nb['cells'] if c['cell_type']=='markdown' and ''.join(c['source']).startswith(MARK))
    cell['source'] = f'{MARK}\n{text}'.splitlines(keepends=True)
    INDEX.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)+'\n', encoding='utf8')
