// What the request handler asks of its owner, and what it tells: who may do what, and what has come of it.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import { ComputeError, handleComputeRequest, InvalidArgumentError, local, NotFoundError } from '../index.js'
import { program, test } from './support.mjs'
import { answered, post, URL_ } from './web.mjs'

const provider = local()
const create = { action: 'compute.sandbox.create' }

describe('callbacks', () => {
  test('authorize is asked with the request as it was given', async () => {
    const calls = []
    const request = post(create, { headers: { authorization: 'Bearer a' } })
    const authorize = async (given, action) => {
      calls.push([given === request, given.headers.get('authorization'), action])
      return true
    }
    const { body } = await answered(request, { provider, authorize })
    assert.deepEqual([body.success, calls], [true, [[true, 'Bearer a', 'compute.sandbox.create']]])
    await handleComputeRequest({
      request: create,
      provider,
      authorize: (given) => assert.equal(given, create),
    })
  })

  test('what authorize does not allow is 403', async () => {
    for (const said of [false, undefined, null, '']) {
      const actions = []
      const answer = await handleComputeRequest({
        request: create,
        provider,
        authorize: () => said,
        onAction: (action) => actions.push(action),
      })
      assert.deepEqual(answer, {
        success: false,
        error: 'Not authorized',
        code: 'PERMISSION_DENIED',
        status: 403,
      })
      assert.deepEqual(actions, [])
    }
  })

  test('a sandbox exists for its owner alone', async () => {
    const as = (owner, request) =>
      handleComputeRequest({
        request,
        provider,
        authorize: () => owner,
        allowedActions: ['create', 'list', 'destroy', 'getInfo', 'runCommand'].map(
          (name) => `compute.sandbox.${name}`,
        ),
      })
    const { sandboxId } = await as('alice', { ...create, options: { metadata: { tag: 'x' } } })
    const info = { action: 'compute.sandbox.getInfo', sandboxId }
    assert.deepEqual((await as('alice', info)).info.metadata, { tag: 'x' })
    for (const other of ['bob', true]) {
      for (const request of [info, { ...info, action: 'compute.sandbox.runCommand', command: 'id' }]) {
        const answer = await as(other, request)
        const unknown = await as(other, { ...request, sandboxId: 'sbx_0' })
        assert.deepEqual(
          [answer.status, { ...answer, error: '' }],
          [404, { ...unknown, sandboxId, error: '' }],
        )
      }
      assert.equal((await as(other, { action: 'compute.sandbox.destroy', sandboxId })).status, 200)
      const { sandboxes } = await as(other, { action: 'compute.sandbox.list' })
      assert.ok(!sandboxes.some((one) => one.sandboxId === sandboxId))
    }
    const open = await handleComputeRequest({ request: info, provider })
    assert.equal(open.status, 404, 'nor for a handler without owners')
    const { sandboxes } = await as('alice', { action: 'compute.sandbox.list' })
    assert.deepEqual(sandboxes, [{ sandboxId, provider: 'local' }])
    const box = await provider.sandbox.getById(sandboxId)
    assert.equal((await box.getInfo()).metadata['computesdk.owner'], 'alice')
    await as('alice', { action: 'compute.sandbox.destroy', sandboxId })
    assert.equal(await provider.sandbox.getById(sandboxId), null)
  })

  test('onAction is told of every action before it is done', async () => {
    const calls = []
    const onAction = async (...args) => calls.push(args)
    const { sandboxId } = await handleComputeRequest({ request: create, provider, onAction })
    await handleComputeRequest({
      request: { action: 'compute.sandbox.destroy', sandboxId },
      provider,
      onAction,
    })
    assert.deepEqual(calls, [
      ['compute.sandbox.create', undefined],
      ['compute.sandbox.destroy', sandboxId],
    ])
  })

  test('what a callback throws is a 500 without internals, and goes to onError as it is', async () => {
    const before = (await provider.sandbox.list()).length
    for (const thrown of [new Error('postgres://10.0.0.1 is down'), 'a text', undefined, { code: 1 }]) {
      for (const name of ['authorize', 'onAction']) {
        const errors = []
        const answer = await handleComputeRequest({
          request: create,
          provider,
          [name]: async () => {
            throw thrown
          },
          onError: (error) => errors.push(error),
        })
        assert.deepEqual(answer, { success: false, error: 'Internal error', code: 'INTERNAL', status: 500 })
        assert.deepEqual([errors.length, errors[0] === thrown], [1, true])
      }
    }
    const errors = []
    const odd = { request: create, provider, authorize: () => ({ owner: 'alice' }) }
    assert.equal((await handleComputeRequest({ ...odd, onError: (error) => errors.push(error) })).status, 500)
    assert.ok(errors[0] instanceof InvalidArgumentError)
    assert.equal((await provider.sandbox.list()).length, before, 'nothing was made')
  })

  test('onError is told in full, and awaited', async () => {
    const errors = []
    const onError = async (error) => {
      await null
      errors.push(error)
    }
    const answer = await handleComputeRequest({
      request: create,
      provider: local({ python: '/opt/secret/python' }),
      onError,
    })
    assert.deepEqual([answer.status, answer.error, answer.code], [500, 'Internal error', 'INTERNAL'])
    assert.ok(errors[0] instanceof InvalidArgumentError)
    assert.match(errors[0].message, /\/opt\/secret\/python/)
    const request = { action: 'compute.sandbox.getInfo', sandboxId: 'sbx_0' }
    await handleComputeRequest({ request, provider, onError })
    assert.ok(errors[1] instanceof NotFoundError && errors[1] instanceof ComputeError)
    assert.equal(errors[1].operation, 'handleComputeRequest')
  })

  test('a Response of authorize is the answer; a body has its status', async () => {
    const authorize = (_request, _action, sandboxId) =>
      new Response(`who are you, ${sandboxId}?`, { status: 401, headers: { 'www-authenticate': 'Bearer' } })
    const body = { action: 'compute.sandbox.getInfo', sandboxId: 'sbx_0' }
    const options = { provider, authorize, allowedOrigins: ['https://front.example'] }
    const request = post(body, { headers: { origin: 'https://front.example' } })
    const response = await handleComputeRequest({ request, ...options })
    assert.deepEqual([response.status, await response.text()], [401, 'who are you, sbx_0?'])
    assert.equal(response.headers.get('www-authenticate'), 'Bearer')
    assert.equal(response.headers.get('access-control-allow-origin'), 'https://front.example')
    const answer = await handleComputeRequest({ request: body, ...options })
    assert.deepEqual([answer.status, answer.success, answer.error], [401, false, 'Not authorized'])
    // One that nobody can write to, as a redirection is.
    const moved = () => Response.redirect('https://app.example/login', 303)
    assert.equal(
      (await handleComputeRequest({ request: post(body), provider, authorize: moved })).status,
      303,
    )
  })

  test('onAnswer is told what has come of every request, whose it was, and how long it took', async () => {
    const traces = []
    const options = { provider, authorize: () => 'alice', onAnswer: async (trace) => void traces.push(trace) }
    const { sandboxId } = await handleComputeRequest({ request: create, ...options })
    const command = { action: 'compute.sandbox.runCommand', sandboxId, command: 'sleep 0.2' }
    await handleComputeRequest({ request: command, ...options })
    const streamed = post(command, { headers: { accept: 'text/event-stream' } })
    const response = await handleComputeRequest({ request: streamed, ...options })
    assert.equal(traces.length, 2, 'not before its end')
    await response.text()
    await handleComputeRequest({ request: { action: 'explode' }, ...options })
    await handleComputeRequest({
      request: command,
      ...options,
      authorize: () => new Response('', { status: 401 }),
    })
    const about = { action: command.action, sandboxId, owner: 'alice', status: 200 }
    assert.ok(traces.every(({ durationMs }) => Number.isInteger(durationMs) && durationMs >= 1))
    assert.ok(traces[1].durationMs >= 200 && traces[2].durationMs >= 200)
    assert.deepEqual(
      traces.map(({ durationMs, ...rest }) => JSON.parse(JSON.stringify(rest))),
      [
        { ...about, action: create.action },
        about,
        about,
        { status: 400 },
        { action: command.action, sandboxId, status: 401 },
      ],
    )
  })

  test('what onAnswer throws is a 500, and a warning; of a stream the last event is an error', async () => {
    const { stdout, stderr } = await program(`
      const onAnswer = () => { throw new Error('no log') }
      const provider = c.local()
      const { sandboxId } = await provider.sandbox.create()
      const request = { action: 'compute.sandbox.runCommand', sandboxId, command: 'echo on' }
      console.log((await c.handleComputeRequest({ request, provider, onAnswer })).status)
      const headers = { 'content-type': 'application/json', accept: 'text/event-stream' }
      const web = new Request('${URL_}', { method: 'POST', headers, body: JSON.stringify(request) })
      const text = await (await c.handleComputeRequest({ request: web, provider, onAnswer })).text()
      console.log(text.includes('event: result'), text.split('event: ').at(-1))
    `).ended
    assert.match(stdout, /^500\nfalse error\ndata: .*"Internal error"/)
    assert.match(stderr, /COMPUTESDK_ON_ANSWER.*no log/)
  })

  test('what onError throws is a 500 too, and a warning', async () => {
    const { stdout, stderr } = await program(`
      const onError = () => { throw new Error('no log') }
      const answer = await c.handleComputeRequest({ request: {}, provider: c.local(), onError })
      console.log(JSON.stringify(answer))
    `).ended
    assert.deepEqual(JSON.parse(stdout), {
      success: false,
      error: 'Internal error',
      code: 'INTERNAL',
      status: 500,
    })
    assert.match(stderr, /COMPUTESDK_ON_ERROR.*no log/)
  })

  test('without authorize there is one warning in production', async () => {
    const source = `
      const request = { action: 'compute.sandbox.getInfo', sandboxId: 'a' }
      const more = process.env.SAFE ? { authorize: () => true } : {}
      for (let i = 0; i < 3; i += 1) await c.handleComputeRequest({ request, provider: c.local(), ...more })
    `
    const warnings = async (env) => (await program(source, { env }).ended).stderr
    const loud = await warnings({ NODE_ENV: 'production' })
    assert.equal(loud.match(/COMPUTESDK_NO_AUTHORIZE/g)?.length, 1, loud)
    assert.match(loud, /authorize: \(request\) =>/)
    assert.equal(await warnings({ NODE_ENV: 'production', SAFE: '1' }), '')
    assert.equal(await warnings({ NODE_ENV: 'test' }), '')
  })
})
