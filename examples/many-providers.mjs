// Several providers at once: `node examples/many-providers.mjs`. The first that can make a sandbox does, work goes on where
// one is missing, and each sandbox is found again wherever it lives.

import { createCompute, docker, e2b, local } from 'computesdk'

/** A provider that is down today. Any object with these functions is one. */
const distant = {
  name: 'distant',
  sandbox: {
    create: async () => {
      throw new Error('distant is down for maintenance')
    },
    getById: async () => null,
    list: async () => [],
    destroy: async () => {},
  },
}

// In this order: E2B's cloud if there is a key, containers if they are asked for, else this machine.
const providers = [
  distant,
  ...(process.env.E2B_API_KEY ? [e2b()] : []),
  ...(process.env.WITH_DOCKER ? [docker()] : []),
  local(),
]
const compute = createCompute({ providers })
console.log('asked in this order:', providers.map(({ name }) => name).join(', '))

const made = await Promise.all(
  ['red', 'green', 'blue'].map((color) => compute.sandbox.create({ metadata: { color } })),
)
try {
  // What they do does not depend on where they are.
  for (const sandbox of made) {
    const { metadata } = await sandbox.getInfo()
    const { stdout } = await sandbox.runCommand('echo "$COLOR" | tr a-z A-Z', {
      env: { COLOR: metadata.color },
    })
    console.log(`${metadata.color} at ${sandbox.provider}: ${stdout.trim()}`)
  }

  // One is asked for by name; nothing else is tried then.
  try {
    await compute.sandbox.create({ provider: 'distant' })
  } catch (error) {
    console.log('by name:', error.message)
  }

  // Ids and lists span all of them.
  const [{ sandboxId }] = made
  console.log('found again:', (await compute.sandbox.getById(sandboxId)).sandboxId === sandboxId)
  const green = await compute.sandbox.list({ metadata: { color: 'green' } })
  console.log('listed:', green.length)
} finally {
  await Promise.all(made.map((sandbox) => sandbox.destroy()))
}

// Without a second choice, it is an error that tells why.
try {
  await createCompute({ providers, fallbackOnError: false }).sandbox.create()
} catch (error) {
  console.log('without a second choice:', error.message)
}
