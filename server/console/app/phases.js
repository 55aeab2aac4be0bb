// The parts of an attempt as lengths of a bar.
import { html } from './lib.js'
import { lasting, t } from './say.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

/** @type {[keyof Schemas['AttemptPhases'], string][]} */
const parts = [
  ['dnsMs', 'dns'],
  ['connectMs', 'connect'],
  ['proxyMs', 'proxy'],
  ['tlsMs', 'tls'],
  ['firstByteMs', 'answer'],
]

/** @param {{ a: Schemas['Attempt'] }} props */
export const Phases = ({ a }) => {
  const had = parts.flatMap(([member, name]) => {
    const ms = a.phases?.[member]
    return ms === undefined ? [] : [{ name, ms }]
  })
  if (had.length === 0) return null
  const all = Math.max(
    1,
    had.reduce((sum, p) => sum + p.ms, 0),
  )
  const said = had.map(p => `${t(`phase.${p.name}`)} ${lasting(p.ms)}`)
  return html`<div class="phases">
    <div class="bar" role="img" aria-label=${said.join(', ')}>${had.map(p => html`<span key=${p.name} class=${p.name} style=${{ flexGrow: Math.max(p.ms / all, 0.01) }}></span>`)}</div>
    <p class="legend">${had.map((p, i) => html`<span key=${p.name} class=${p.name}>${said[i]}</span>`)}${a.reused && html`<span>${t('phase.reused')}</span>`}</p>
  </div>`
}
