// A model is trained, scored and kept: `node examples/machine-learning.mjs`. Needs pandas and scikit-learn where it runs,
// which `provider.mjs` decides.

import { compute } from 'computesdk'
import { provider } from './provider.mjs'

compute.setConfig({ provider })
const sandbox = await compute.sandbox.create({ timeout: 600_000 })

try {
  await sandbox.filesystem.mkdir('/ml-project/data')
  await sandbox.filesystem.mkdir('/ml-project/models')

  const result = await sandbox.runCode(`
import json
import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.model_selection import train_test_split

np.random.seed(42)
X = np.random.randn(1000, 5)
y = X.sum(axis=1) + np.random.randn(1000) * 0.1

feature_names = [f'feature_{i}' for i in range(5)]
df = pd.DataFrame(X, columns=feature_names)
df['target'] = y
print(f'Dataset shape: {df.shape}')
df.to_csv('/ml-project/data/dataset.csv', index=False)

X_train, X_test, y_train, y_test = train_test_split(
    df[feature_names], df['target'], test_size=0.2, random_state=42
)
model = LinearRegression()
model.fit(X_train, y_train)
y_pred = model.predict(X_test)

mse = mean_squared_error(y_test, y_pred)
r2 = r2_score(y_test, y_pred)
print(f'MSE: {mse:.4f}')
print(f'R²: {r2:.4f}')

joblib.dump(model, '/ml-project/models/linear_model.pkl')
results = {
    'mse': mse,
    'r2': r2,
    'feature_importance': dict(zip(feature_names, model.coef_)),
    'intercept': model.intercept_,
}
with open('/ml-project/results.json', 'w') as f:
    json.dump(results, f, indent=2)
`)
  console.log(result.stdout)
  if (result.exitCode !== 0) throw new Error(result.stderr)

  const results = await sandbox.filesystem.readFile('/ml-project/results.json')
  console.log('ML Results:', JSON.parse(results))
  console.log('Model saved:', await sandbox.filesystem.exists('/ml-project/models/linear_model.pkl'))
} finally {
  await sandbox.destroy()
}
