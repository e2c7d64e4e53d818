// What the editor shows at first.

export type Language = 'python' | 'node'

export const LANGUAGES: Record<Language, string> = { python: 'Python', node: 'Node.js' }

const PYTHON = `# This runs in a sandbox of your own: no network, its own files.
import time

squares = {}
for number in range(1, 7):
    squares[number] = number**2
    print(f"{number} × {number} = {squares[number]}", flush=True)
    time.sleep(0.25)

with open("squares.csv", "w") as file:
    for number, square in squares.items():
        file.write(f"{number},{square}\\n")

print("Written to squares.csv, look at the files.")
`

const NODE = `// This runs in a sandbox of your own: no network, its own files.
import { writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

const primes = []
for (let number = 2; primes.length < 6; number++) {
  if (primes.some((prime) => number % prime === 0)) continue
  primes.push(number)
  console.log(\`prime \${primes.length} is \${number}\`)
  await sleep(250)
}

await writeFile('primes.json', JSON.stringify(primes))
console.log('Written to primes.json, look at the files.')
`

export const SAMPLES: Record<Language, string> = { python: PYTHON, node: NODE }
