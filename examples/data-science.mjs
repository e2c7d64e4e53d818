// A table goes in, statistics and a chart come out: `node examples/data-science.mjs`. Needs pandas and matplotlib where it
// runs, which `provider.mjs` decides.

import { compute } from 'computesdk'
import { provider } from './provider.mjs'

compute.setConfig({ provider })
const sandbox = await compute.sandbox.create()

try {
  await sandbox.filesystem.mkdir('/analysis/output')
  await sandbox.filesystem.writeFile(
    '/analysis/data/people.csv',
    `name,age,city
Alice,25,New York
Bob,30,San Francisco
Charlie,35,Chicago`,
  )

  const result = await sandbox.runCode(`
import json
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import pandas as pd

df = pd.read_csv('/analysis/data/people.csv')
print('Data loaded:')
print(df)

avg_age = df['age'].mean()
print(f'\\nAverage age: {avg_age}')

plt.figure(figsize=(8, 6))
plt.bar(df['name'], df['age'])
plt.title('Age by Person')
plt.xlabel('Name')
plt.ylabel('Age')
plt.savefig('/analysis/output/age_chart.png')

results = {
    'total_people': len(df),
    'average_age': avg_age,
    'cities': df['city'].unique().tolist(),
}
with open('/analysis/output/results.json', 'w') as f:
    json.dump(results, f, indent=2)
`)
  console.log(result.stdout)
  if (result.exitCode !== 0) throw new Error(result.stderr)

  const results = await sandbox.filesystem.readFile('/analysis/output/results.json')
  console.log('Analysis results:', JSON.parse(results))

  const chart = await sandbox.filesystem.readFile('/analysis/output/age_chart.png', { encoding: 'bytes' })
  console.log('Chart created:', chart.length, 'bytes')
} finally {
  await sandbox.destroy()
}
