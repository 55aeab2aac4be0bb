// One callback: why it is where it is, what was sent when, and what came back.
import { html } from './lib.js'
import { deliveries, webhook } from './api.js'
import { Dot } from './callbacks.js'
import { Found } from './diagnosis.js'
import { useAct, useLive } from './load.js'
import { rawMember } from './raw.js'
import { Request } from './request.js'
import { linkTo, route } from './route.js'
import { has, statusOf, t } from './say.js'
import { Timeline } from './timeline.js'
import { Button, Code, Drawer, Id, Time, Trouble, Waiting } from './ui.js'
import { advice, whyDelivery } from './why.js'

/** @typedef {import('recapito-api').components['schemas']} Schemas */

/** @param {{ id: string, onClose: () => void, onChange: () => void }} props */
export const Why = ({ id, onClose, onChange }) => {
  const live = useLive(() => deliveries.text(id), 3000, [id])
  const d = live.data ? /** @type {Schemas['DeliveryDetail']} */ (JSON.parse(live.data)) : live.data
  return html`<${Drawer} name=${t('why')} onClose=${onClose}>
    <${Trouble} error=${live.error} />
    ${
      d === undefined
        ? !live.error && html`<${Waiting} />`
        : d === null
          ? html`<p class="says">${t('why.gone')}</p>`
          : html`<${Told} d=${d} body=${rawMember(live.data ?? '', 'payload')} onChange=${() => {
              live.reload()
              onChange()
            }} />`
    }
  <//>`
}

/** @param {{ d: Schemas['DeliveryDetail'], body?: string, onChange: () => void }} props */
const Told = ({ d, body, onChange }) => {
  const again = useAct(async () => {
    await deliveries.replay(d.eventId)
    onChange()
  })
  const test = useAct(() => webhook.test({}))
  const siblings = useLive(() => deliveries.list({ messageId: d.messageId, order: 'asc', limit: 50, payload: true }), 0, [d.messageId, d.state]).data?.deliveries ?? []
  const last = d.attempts.at(-1)
  const failed = d.attempts.findLast(a => a.error)
  const p = d.payload
  return html`
    <p class=${`state ${d.state}`}><span class=${`dot ${d.state}`} aria-hidden="true"></span>${t(`delivery.${d.state}`)}</p>
    <h2 class="says">${whyDelivery(d)}</h2>
    ${d.state !== 'DELIVERED' && last?.error && html`<p class="lead advice">${advice(last)}</p>`}
    <div class="acts">
      ${d.state !== 'PENDING' && html`<${Button} kind="primary" busy=${again.busy} onClick=${again.run}>${t('act.one')}<//>`}
      ${last?.error && html`<${Button} busy=${test.busy} onClick=${test.run}>${t(last.error === 'TLS_FAILED' ? 'act.certificate' : 'act.test')}<//>`}
    </div><${Trouble} error=${again.error ?? test.error} />
    ${test.result && html`<${Found} d=${test.result} />`}
    <${Siblings} d=${d} all=${siblings} />
    <dl class="facts">
      ${p?.customerMessageId && html`<div><dt>${t('fact.own')}</dt><dd><${Id} text=${p.customerMessageId} /></dd></div>`}
      <div><dt>${t('fact.message')}</dt><dd><${Id} text=${d.messageId} /></dd></div>
      <div><dt>${t('fact.event')}</dt><dd><${Id} text=${d.eventId} /></dd></div>
      ${
        p &&
        html`<div><dt>${t('fact.tells')}</dt><dd>${has(`status.${p.status}`) ? t(`status.${p.status}`) : p.status} · ${p.channel}</dd></div>
        ${(p.destination ?? p.recipientId) && html`<div><dt>${t('fact.to')}</dt><dd>${p.destination ?? p.recipientId}</dd></div>`}
        ${p.description && html`<div><dt>${t('fact.description')}</dt><dd>${p.description}</dd></div>`}
        ${p.error && html`<div><dt>${t('fact.error')}</dt><dd>${p.error.code}${p.error.message ? `: ${p.error.message}` : ''}</dd></div>`}`
      }
    </dl>
    <h3>${t('timeline')}</h3>
    <${Timeline} d=${d} siblings=${siblings} />
    ${failed && (failed.responseHeader || failed.response) && html`<h3>${t('answer.failed', { n: failed.number })}</h3><${Code} name=${t('answer')} text=${[failed.responseHeader, failed.response].filter(Boolean).join('\n\n')} />`}
    ${body !== undefined && html`<${Request} d=${d} body=${body} />`}`
}

/** The other events of the message. @param {{ d: Schemas['DeliveryDetail'], all: Schemas['Delivery'][] }} props */
const Siblings = ({ d, all }) => {
  if (all.length < 2) return null
  const now = route()
  return html`<nav class="siblings" aria-label=${t('siblings')}>${all.map(
    s => html`<a key=${s.eventId} href=${linkTo(now.page, { ...now.query, event: s.eventId })} aria-current=${s.eventId === d.eventId ? 'true' : undefined}>
    <${Dot} d=${s} /> <span>${statusOf(s)}</span> <small><${Time} at=${s.acceptedAt} /></small></a>`,
  )}</nav>`
}
