// The parts that pages are made of.
import { html, useLayoutEffect, useRef, useState } from './lib.js'
import { Problem } from './api.js'
import { first, fully, has, t, when } from './say.js'

/** What went wrong, in words. @param {unknown} error */
const problemText = error => {
  if (!(error instanceof Problem)) return t('problem.unexpected', { detail: String(error) })
  if (error.status === 0) return t('problem.unreachable')
  const where = error.errors.map(e => `${e.pointer} ${e.detail}`).join('; ')
  const wait = error.retryAfter ? ` ${t('problem.retry', { n: error.retryAfter })}` : ''
  const key = `problem.${error.code}`
  return (has(key) ? t(key) : first([`problem.${error.status}`, 'problem.other'], { status: error.status })) + wait + (where || !has(key) ? ` ${where || error.message}` : '')
}

/** @param {{ error: unknown }} props */
export const Trouble = ({ error }) => (error ? html`<p class="trouble" role="alert">${problemText(error)}</p>` : null)

/** @param {any} props */
export const Button = ({ kind = '', busy = false, disabled = false, onClick, children, ...rest }) => html`
  <button type="button" class=${`button ${kind}`} aria-busy=${busy} disabled=${disabled || busy} onClick=${onClick} ...${rest}>${children}</button>`

/** A time, exact when asked. @param {{ at?: string | null, show?: (at: string) => string }} props */
export const Time = ({ at, show = when }) => (at ? html`<time datetime=${at} title=${fully(at)}>${show(at)}</time>` : '–')

/** Also where the page came by plain HTTP, and the browser has no clipboard for it. @param {string} text */
const toClipboard = async text => {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text)
    return
  }
  const field = document.createElement('textarea')
  field.value = text
  ;(document.querySelector('dialog[open]') ?? document.body).append(field)
  field.select()
  document.execCommand('copy')
  field.remove()
}

/** @param {{ text: string, label?: string }} props */
export const Copy = ({ text, label }) => {
  const [copied, set] = useState(false)
  const copy = async () => {
    await toClipboard(text)
    set(true)
    setTimeout(() => set(false), 1500)
  }
  return html`<button type="button" class="copy" onClick=${copy} title=${label ?? t('copy')} aria-label=${label ?? t('copy')}>
    <span aria-live="polite">${copied ? t('copied') : (label ?? t('copy'))}</span></button>`
}

/** An id that can be copied. @param {{ text: string }} props */
export const Id = ({ text }) => html`<span class="id"><code>${text}</code><${Copy} text=${text} /></span>`

/** @param {{ name: string, children?: any, note?: any, class?: string }} props */
export const Card = ({ name, children, note, class: kind = '' }) => html`
  <section class=${`card ${kind}`} aria-label=${name}><header><h2>${name}</h2>${note && html`<div class="note">${note}</div>`}</header>${children}</section>`

/**
 * One of a few. @template {string} T
 * @param {{ name: string, options: { value: T, label: string }[], value: T, onChange: (value: T) => void }} props
 */
export const Choice = ({ name, options, value, onChange }) => html`
  <div class="choice" role="group" aria-label=${name}>
    ${options.map(o => html`<button type="button" key=${o.value} aria-pressed=${o.value === value} onClick=${() => onChange(o.value)}>${o.label}</button>`)}
  </div>`

/**
 * A window over the page, from the right; Escape closes it. It has the focus itself: the
 * press of Enter that opened it may end in it, and would press its first button.
 * @param {any} props
 */
export const Drawer = ({ name, onClose, children }) => {
  const own = useRef(/** @type {HTMLDialogElement | null} */ (null))
  // It is closed while it is still there: then the focus goes back to what had it before.
  useLayoutEffect(() => {
    const dialog = own.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])
  /** @param {MouseEvent} e */
  const outside = e => e.target === own.current && onClose()
  return html`<dialog ref=${own} class="drawer" aria-label=${name} onCancel=${(/** @type {Event} */ e) => {
    e.preventDefault()
    onClose()
  }} onClick=${outside}>
    <div class="sheet" tabindex="-1" autofocus><button type="button" class="close" onClick=${onClose} aria-label=${t('close')}>×</button>${children}</div>
  </dialog>`
}

/** Text of a program, as it is. @param {{ text: string, name: string }} props */
export const Code = ({ text, name }) => html`
  <figure class="code"><figcaption>${name}<${Copy} text=${text} /></figcaption><pre tabindex="0" aria-label=${name}><code>${text}</code></pre></figure>`

/** @param {{ text?: string }} props */
export const Waiting = ({ text = t('loading') }) => html`<p class="quiet" role="status">${text}</p>`
