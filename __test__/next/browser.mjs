// Chromium, and what a visitor does with the page of examples/nextjs.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const CHROMIUM = '/usr/bin/chromium'

/** Installs Debian's Chromium, unless it is there. */
export function ensureChromium() {
  if (existsSync(CHROMIUM)) return
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    const apt = (...args) =>
      execFileSync('apt-get', ['-q', ...args], { stdio: 'pipe', timeout: 300_000, env })
    apt('update')
    apt('install', '-y', '--no-install-recommends', 'chromium', 'fonts-dejavu-core')
  } catch (error) {
    const said = error.stderr?.toString().trim() || error.message
    throw new Error(`${CHROMIUM} is not there, and \`apt-get install chromium\` failed.\n${said}`)
  }
}

/** A browser with a profile of its own, which is gone when it is closed. */
export async function browse(playwright) {
  const args = [
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ]
  return await playwright.chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    chromiumSandbox: process.getuid() !== 0,
    args,
  })
}

/** Replaces the code in the editor. */
export async function type(page, code) {
  await page.getByLabel('Code').click()
  await page.keyboard.press('ControlOrMeta+a')
  await page.keyboard.insertText(code)
}

/** Waits until an element has a text, and gives all of its text. */
export async function shows(locator, text, timeout = 15_000) {
  await locator.filter({ hasText: text }).first().waitFor({ timeout })
  return await locator.textContent()
}

/** Runs what is in the editor. */
export async function run(page) {
  await page.getByRole('button', { name: 'Run' }).click()
}

/** What was printed. */
export function output(page) {
  return page.getByRole('log', { name: 'Output' })
}

/** How the run ended, or that it goes on. */
export function outcome(page) {
  return page.getByRole('status')
}

/** Opens the terminal, types a line into it, and waits until it shows something. */
export async function inTerminal(page, line, expected) {
  const terminal = page.getByRole('region', { name: 'Terminal' })
  const open = terminal.getByRole('button', { name: 'Open terminal' })
  if (await open.isVisible()) await open.click()
  await terminal.locator('.xterm-screen').click()
  await shows(terminal.locator('.xterm-rows'), /\$/)
  await page.keyboard.type(`${line}\n`)
  assert.match(await shows(terminal.locator('.xterm-rows'), expected), expected)
}
