"MODEL=model uvicorn service:app --workers 4"
import os
os.environ.setdefault('OMP_NUM_THREADS', '1') # each worker has one thread
from typing import Annotated
from fastapi import FastAPI
from pydantic import BaseModel, Field, StringConstraints
from ulmfit_ext.infer.predict import load_predictor

pred, app = load_predictor(os.environ['MODEL']), FastAPI(title='Text classifier')
Text = Annotated[str, StringConstraints(min_length=1, max_length=50_000)]

class Texts(BaseModel):
    texts: list[Text] = Field(max_length=64)

@app.post('/predict')
def predict(body: Texts) -> list[dict]:
    return [dict(label=label, probability=round(p, 4)) for [(label, p)] in pred.top(body.texts, k=1)]

@app.get('/health')
def health() -> dict:
    return dict(model=repr(pred), pid=os.getpid())
