// Python in a terminal, typed into line by line: `node examples/terminal.mjs`.

import { setTimeout as sleep } from 'node:timers/promises'
import { compute } from 'computesdk'
import { provider } from './provider.mjs'

compute.setConfig({ provider })
const sandbox = await compute.sandbox.create()

try {
  const terminal = await sandbox.terminal.create({
    command: 'python3',
    cols: 80,
    rows: 24,
    onData: (data) => process.stdout.write(data),
  })

  await terminal.write('import statistics\n')
  await terminal.write('data = [1, 2, 3, 4, 5]\n')
  await terminal.resize(120, 30)
  await terminal.write('print(f"Mean: {statistics.mean(data)}")\n')
  await terminal.write('exit()\n')

  // A terminal does not keep Node.js alive; waiting does.
  while (terminal.status === 'running') await sleep(20)
  console.log('It has ended with', terminal.exitCode)
} finally {
  await sandbox.destroy()
}
