// What a test found: a sentence, the way to the endpoint in phases, its certificate, what
// was sent and what came back.
import { html } from './lib.js'
import { date, lasting, t } from './say.js'
import { Code, Drawer, Time } from './ui.js'
import { Phases } from './phases.js'
import { advice, reason } from './why.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

const good = ['ACKNOWLEDGED', 'CERTIFICATE_EXPIRES_SOON']

/** Why it failed; of a certificate that has expired, when that was. @param {Schemas['Diagnosis']} d */
const fault = ({ attempt, tls }) => {
  const expired = attempt.detail === 'CERTIFICATE_EXPIRED' && tls?.certificates.find(c => Date.parse(c.notAfter) < Date.parse(attempt.at))
  return expired ? t('verdict.expired', { at: date(expired.notAfter) }) : t('verdict.failed', { reason: reason(attempt) })
}

/** @param {{ d: Schemas['Diagnosis'], onClose: () => void }} props */
export const Diagnosis = ({ d, onClose }) => html`<${Drawer} name=${t('diagnosis')} onClose=${onClose}><${Found} d=${d} /><//>`

/** @param {{ d: Schemas['Diagnosis'] }} props */
export const Found = ({ d }) => {
  const a = d.attempt
  const well = good.includes(d.verdict)
  return html`<div class=${`found ${well ? 'ok' : 'bad'}`}>
    <p class="state"><span class="lamp" aria-hidden="true"></span>${t('diagnosis')}</p>
    <h2 class="says">${well ? t(`verdict.${d.verdict}`, { status: a.statusCode, at: d.tls?.expiresAt ? date(d.tls.expiresAt) : '' }) : fault(d)}</h2>
    ${!well && html`<p class="lead">${advice(a)}</p>`}
    <dl class="facts">
      <div><dt>${t('fact.took')}</dt><dd>${lasting(a.durationMs)}</dd></div>
      ${a.statusCode !== undefined && html`<div><dt>${t('fact.status')}</dt><dd>${a.statusCode}</dd></div>`}
      ${a.address && html`<div><dt>${t('fact.address')}</dt><dd><code>${a.address}</code></dd></div>`}
      ${d.tls?.version && html`<div><dt>TLS</dt><dd>${d.tls.version}</dd></div>`}
    </dl>
    <${Phases} a=${a} />
    ${
      d.tls &&
      d.tls.certificates.length > 0 &&
      html`<h3>${t('certificate')}</h3>
      <ol class="chain">${d.tls.certificates.map(
        (c, i) => html`<li key=${i}><strong>${c.subject}</strong><br /><span class="quiet">${t('certificate.by', { issuer: c.issuer })}</span><br />
        ${c.names.length > 0 && html`<span>${c.names.join(', ')}</span><br />`}<span class=${Date.parse(c.notAfter) < Date.now() ? 'bad' : ''}>${t('certificate.until')} <${Time} at=${c.notAfter} show=${date} /></span></li>`,
      )}</ol>`
    }
    ${(a.responseHeader || a.response) && html`<${Code} name=${t('answer')} text=${[a.responseHeader, a.response].filter(Boolean).join('\n\n')} />`}
    <${Code} name=${t('sent')} text=${JSON.stringify(d.payload, null, 2)} />
  </div>`
}
