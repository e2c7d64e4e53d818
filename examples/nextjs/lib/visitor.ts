// Who is asking. Here that is whoever brings the cookie that we gave; in an app with accounts it is who has signed in, and
// only this file changes.

import { createHash, randomUUID } from 'node:crypto'
import { cookies, headers } from 'next/headers'

const COOKIE = 'visitor'
const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/

/** The name that a visitor's sandbox belongs to. `undefined`: we do not know them. */
export async function visitor(): Promise<string | undefined> {
  const secret = (await cookies()).get(COOKIE)?.value
  return secret !== undefined && UUID.test(secret) ? nameOf(secret) : undefined
}

/** Gives somebody whom we do not know a cookie, and the name that belongs to it. */
export async function newVisitor(): Promise<string> {
  const secret = randomUUID()
  const jar = await cookies()
  jar.set(COOKIE, secret, {
    httpOnly: true,
    sameSite: 'strict',
    secure: (await headers()).get('x-forwarded-proto') === 'https',
    path: '/api',
    maxAge: 24 * 60 * 60,
  })
  return nameOf(secret)
}

/** A name tells nothing about the cookie: it may be shown, and the cookie may not. */
function nameOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex').slice(0, 32)
}
