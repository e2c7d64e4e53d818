// E2B's own client, which must not notice that it does not speak to E2B: files.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import { AuthenticationError, FileNotFoundError, InvalidArgumentError } from 'e2b'

import { envd, overTls, own, shared, test } from './e2b-client.mjs'

test('files are written and read as text, as bytes and as streams', async () => {
  const { path, name, type } = await shared.files.write('of/text.txt', 'hällo')
  assert.deepEqual({ path, name, type }, { path: '/home/user/of/text.txt', name: 'text.txt', type: 'file' })
  assert.equal(await shared.files.read('of/text.txt'), 'hällo')
  const bytes = randomBytes(3_000_000)
  await shared.files.write(
    '/analysis/bytes',
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
  )
  const read = Buffer.from(await shared.files.read('/analysis/bytes', { format: 'bytes' }))
  const sum = (data) => createHash('sha256').update(data).digest('hex')
  assert.equal(sum(read), sum(bytes))
  const chunks = []
  for await (const chunk of await shared.files.read('/analysis/bytes', { format: 'stream' }))
    chunks.push(chunk)
  assert.equal(sum(Buffer.concat(chunks)), sum(bytes))
  await shared.files.write('zipped', 'z'.repeat(100_000), { gzip: true, useOctetStream: true })
  assert.equal((await shared.files.read('zipped', { gzip: true })).length, 100_000)
  const many = await shared.files.write([
    { path: 'many/a', data: 'A' },
    { path: '/tmp/b', data: new Blob(['B']) },
  ])
  assert.deepEqual(
    many.map((one) => one.path),
    ['/home/user/many/a', '/tmp/b'],
  )
  assert.equal(await shared.files.read('/tmp/b'), 'B')
  await shared.files.write('empty', '')
  assert.equal(await shared.files.read('empty'), '')
})

test('files are listed, found, moved and removed', async (t) => {
  const { files, commands } = await own(t)
  assert.equal(await files.makeDir('d/e'), true)
  assert.equal(await files.makeDir('d/e'), false)
  await files.write('d/f', 'four')
  await commands.run('cd d && ln -s f link && ln -s nowhere dangling && chmod 640 f')
  const entries = await files.list('d')
  const facts = entries.map(({ name, type, path, size }) => ({ name, type, path, size }))
  assert.deepEqual(facts, [
    { name: 'e', type: 'dir', path: '/home/user/d/e', size: 40 },
    { name: 'f', type: 'file', path: '/home/user/d/f', size: 4 },
    { name: 'link', type: 'file', path: '/home/user/d/link', size: 1 },
  ])
  const info = await files.getInfo('d/f')
  assert.deepEqual(
    [info.mode, info.permissions, info.owner, info.group],
    [0o640, '-rw-r-----', 'user', 'user'],
  )
  assert.ok(Math.abs(info.modifiedTime - Date.now()) < 60_000)
  const link = await files.getInfo('d/link')
  assert.deepEqual(
    [link.type, link.symlinkTarget, link.permissions],
    ['file', '/home/user/d/f', 'Lrwxrwxrwx'],
  )
  assert.deepEqual(
    (await files.list('/home/user', { depth: 2 }))
      .map(({ path }) => path)
      .filter((path) => path.includes('/d/')),
    ['/home/user/d/e', '/home/user/d/f', '/home/user/d/link'],
  )
  assert.equal((await files.rename('d/f', 'g/h')).path, '/home/user/g/h')
  assert.equal(await files.read('g/h'), 'four')
  assert.deepEqual([await files.exists('d/f'), await files.exists('g/h')], [false, true])
  await files.remove('d')
  await files.remove('d')
  assert.equal(await files.exists('d'), false)
})

test('what is not there, or is something else, is refused in the words of the server', async () => {
  await assert.rejects(shared.files.read('nope'), (error) => {
    assert.ok(error instanceof FileNotFoundError, error)
    assert.match(error.message, /path '\/home\/user\/nope' does not exist/)
    return true
  })
  await assert.rejects(shared.files.read('/tmp'), /path '\/tmp' is a directory/)
  await assert.rejects(shared.files.list('/nope'), FileNotFoundError)
  await assert.rejects(shared.files.list('/etc/passwd'), /path is not a directory: \/etc\/passwd/)
  await assert.rejects(shared.files.rename('nope', 'other'), FileNotFoundError)
  await assert.rejects(shared.files.getInfo('~root/x'), InvalidArgumentError)
  await assert.rejects(shared.files.read('/tmp/x', { user: 'nobody' }), AuthenticationError)
})

test('a part of a file is read, and a file is put together', async () => {
  await shared.files.write('/tmp/part', '0123456789')
  const read = (range) => envd(shared, '/files?path=/tmp/part', { headers: { Range: range } })
  const middle = await read('bytes=2-4')
  assert.deepEqual(
    [middle.status, middle.headers.get('content-range'), await middle.text()],
    [206, 'bytes 2-4/10', '234'],
  )
  assert.equal(await (await read('bytes=-3')).text(), '789')
  assert.equal(await (await read('bytes=7-')).text(), '789')
  assert.equal((await read('bytes=10-')).status, 416)
  await shared.files.write('/tmp/rest', 'abc')
  const composed = await envd(shared, '/files/compose', {
    method: 'POST',
    body: JSON.stringify({ source_paths: ['/tmp/part', '/tmp/rest'], destination: '/tmp/all' }),
  })
  assert.deepEqual(await composed.json(), { name: 'all', path: '/tmp/all', type: 'file' })
  assert.equal(await shared.files.read('/tmp/all'), '0123456789abc')
  assert.equal(await shared.files.exists('/tmp/part'), false)
})

test('a signed address is enough for the file that it names', async () => {
  const relayed = (url) => {
    const { pathname, search } = new URL(url)
    return `${pathname}${search}`
  }
  const headers = { 'X-Access-Token': '' }
  const upload = relayed(await shared.uploadUrl('/tmp/signed', { useSignatureExpiration: 60 }))
  const body = new FormData()
  body.append('file', new Blob(['signed']), '/tmp/signed')
  assert.equal((await envd(shared, upload, { method: 'POST', body, headers })).status, 200)
  const download = relayed(await shared.downloadUrl('/tmp/signed'))
  assert.equal(await (await envd(shared, download, { headers })).text(), 'signed')
  const forged = await envd(shared, download.replace('signed', 'other'), { headers })
  assert.deepEqual([forged.status, await forged.json()], [401, { code: 401, message: 'invalid signature' }])
  const bare = await envd(shared, '/files?path=/tmp/signed', { headers })
  assert.deepEqual(await bare.json(), { code: 401, message: 'missing signature query parameter' })
})

test('what happens in a directory is told', async () => {
  await shared.files.makeDir('/tmp/watched/below')
  const seen = []
  const watch = await shared.files.watchDir(
    '/tmp/watched',
    ({ name, type }) => seen.push(`${type} ${name}`),
    {
      recursive: true,
    },
  )
  await shared.commands.run(
    'cd /tmp/watched && echo 1 > a && chmod 600 a && mv a b && rm b && echo 2 > below/c',
  )
  const expected = ['create a', 'write a', 'chmod a', 'rename a', 'create b', 'remove b', 'create below/c']
  for (let tries = 0; !expected.every((event) => seen.includes(event)); tries++) {
    assert.ok(tries < 200, seen.join())
    await sleep(20)
  }
  await watch.stop()
  await assert.rejects(
    shared.files.watchDir('/nope', () => {}),
    FileNotFoundError,
  )
})

overTls(import.meta.url)
