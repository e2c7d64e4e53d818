// A registry of images with one image, which comes piece by piece: what an engine asks of one to pull from it
// (https://github.com/opencontainers/distribution-spec).

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const OCI = 'application/vnd.oci.image'
const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' }
const PIECES = 12
/** How long each piece takes, ms. */
const PACE = 50

/** An image whose root has these files, by the digests of its parts. */
function imageOf(files) {
  const folder = mkdtempSync(join(tmpdir(), 'image-'))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  const layer = execFileSync('tar', ['-C', folder, '-c', '.'], { maxBuffer: 2 ** 28 })
  rmSync(folder, { recursive: true })
  const digest = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  const part = (type, bytes) => ({ mediaType: `${OCI}.${type}`, size: bytes.length, digest: digest(bytes) })
  const config = Buffer.from(
    JSON.stringify({
      architecture: ARCHITECTURES[process.arch],
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [digest(layer)] },
    }),
  )
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${OCI}.manifest.v1+json`,
      config: part('config.v1+json', config),
      layers: [part('layer.v1.tar', layer)],
    }),
  )
  const blobs = new Map([config, layer].map((bytes) => [digest(bytes), bytes]))
  return { manifest, digest: digest(manifest), blobs, size: layer.length }
}

/** Serves such an image by the name `host/image`: the name, the size of its layer, and its end. */
export async function registryOf(files) {
  const image = imageOf(files)
  const server = createServer(async (request, response) => {
    const [, what, which] = /^\/v2\/image\/(manifests|blobs)\/(.+)$/.exec(request.url) ?? []
    const bytes = what === 'manifests' ? image.manifest : image.blobs.get(which)
    if (!bytes) return response.writeHead(request.url === '/v2/' ? 200 : 404).end()
    const type = what === 'manifests' ? `${OCI}.manifest.v1+json` : 'application/octet-stream'
    const known = what === 'manifests' ? { 'Docker-Content-Digest': image.digest } : {}
    response.writeHead(200, { 'Content-Type': type, 'Content-Length': bytes.length, ...known })
    if (request.method === 'HEAD') return response.end()
    const piece = Math.ceil(bytes.length / PIECES)
    for (let at = 0; at < bytes.length; at += piece) {
      response.write(bytes.subarray(at, at + piece))
      if (bytes.length > 2 ** 20) await sleep(PACE)
    }
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const stop = () => {
    server.closeAllConnections()
    server.close()
  }
  return { name: `127.0.0.1:${server.address().port}/image`, size: image.size, stop }
}
