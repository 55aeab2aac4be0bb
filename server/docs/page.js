// Starts Scalar on the document of the page's language. Nothing is asked of
// another origin: no fonts, no telemetry, no agent, no proxy.
'use strict'

const lang = document.documentElement.lang

const labels = {
  it: {
    common: { description: 'Descrizione', httpMethod: 'Metodo HTTP', path: 'Percorso', copyDefault: 'Copia il valore predefinito', copyExample: 'Copia il valore di esempio' },
    search: {
      label: 'Cerca', inputLabel: 'Testo da cercare', open: 'Apri la ricerca', placeholder: 'Cerca…', clear: 'Cancella la ricerca',
      noResults: 'Nessun risultato', keyboardShortcut: 'Scorciatoia da tastiera:', results: 'Risultati della ricerca', navigate: 'Scorri', select: 'Scegli',
      instructions: 'Freccia su e giù per scorrere, invio per scegliere, scrivi per filtrare i risultati',
      entryHeading: 'Titolo', entryOperation: 'Operazione', entryTag: 'Gruppo', entryTagGroup: 'Gruppo di gruppi',
    },
    navigation: {
      introduction: 'Introduzione', closeGroup: 'Chiudi il gruppo', closeMenu: 'Chiudi il menu', openGroup: 'Apri il gruppo', openMenu: 'Apri il menu',
      operations: 'Operazioni', endpoints: 'Operazioni di {name}', showAllEndpoints: 'Mostra tutte le operazioni di {name}',
      sidebarFor: 'Barra laterale di {name}', mainContent: 'Documentazione dell’API {name}', collapsed: 'Chiuso',
    },
    server: { select: 'Scegli un server' },
    clientLibraries: { heading: 'Librerie client', more: 'Altre', selectAll: 'Scegli fra tutti i client' },
    operation: {
      codeSampleUnavailable: 'Per questo esempio non c’è codice.', body: 'Corpo', headers: 'Intestazioni', pathParameters: 'Parametri del percorso',
      queryParameters: 'Parametri della query', requestBody: 'Corpo della richiesta', responses: 'Risposte', testRequest: 'Prova la richiesta',
      selectedContentType: 'Tipo di contenuto scelto', callbacks: 'Callback',
    },
    response: { exampleResponses: 'Esempi di risposta', noBody: 'Nessun corpo', showSchema: 'Mostra lo schema', status: 'Stato' },
    schema: {
      example: 'Esempio', examples: 'Esempi', default: 'Predefinito', emptyObject: 'Oggetto vuoto', showAdditionalProperties: 'Mostra le altre proprietà',
      forName: 'di {name}', showSchemaDetails: 'Mostra i dettagli dello schema', oneOf: 'Uno di', anyOf: 'Almeno uno di', allOf: 'Tutti', unknownType: 'tipo ignoto',
      propertyCount: 'Proprietà: {count}', headerCount: 'Intestazioni: {count}', additionalProperties: 'altre proprietà', format: 'Formato',
      greaterThan: 'maggiore di', lessThan: 'minore di', keys: 'chiavi', maxLength: 'lunghezza massima', minLength: 'lunghezza minima', nullable: 'può essere null',
      pattern: 'Espressione', copyPattern: 'Copia l’espressione', readOnly: 'sola lettura', required: 'obbligatorio', hideValues: 'Nascondi i valori',
      showAllValues: 'Mostra tutti i valori', type: 'Tipo', unique: 'univoci', values: 'valori', writeOnly: 'sola scrittura',
    },
    download: { openapi: 'Scarica il documento OpenAPI' },
    models: { label: 'Modelli' },
    actions: {
      copyAsMarkdown: 'Copia come Markdown', copied: 'Copiato', copyLink: 'Copia il link', copyLinkTo: 'Copia il link a {name}',
      copyToClipboard: 'Copia il link negli appunti', copyEndpointUrl: 'Copia l’URL dell’operazione', showMore: 'Mostra altro',
    },
    footer: { poweredByScalar: 'Realizzato con Scalar' },
    authentication: {
      detailsRequired: 'Autenticazione obbligatoria', detailsOptional: 'Autenticazione facoltativa', apiKey: 'Chiave API',
      apiKeyHeader: 'Manda la chiave API nell’intestazione “{name}”.', title: 'Autenticazione', accepts: 'Accetta', allOf: 'tutte:',
      authentication: 'autenticazione', optional: 'Autenticazione facoltativa', oneOf: 'una di:', required: 'Autenticazione obbligatoria', requires: 'Richiede',
    },
  },
}

// The joke that Scalar shows in an empty field for an API key.
const joke = '[placeholder="QUxMIFlPVVIgQkFTRSBBUkUgQkVMT05HIFRPIFVT"]'

new MutationObserver(changes => {
  for (const { target } of changes) for (const field of target.querySelectorAll(joke)) field.placeholder = 'rcp_…'
}).observe(document.body, { childList: true, subtree: true })

// forPage fits the document to what Scalar shows: it leaves out a callback's
// description and examples, but shows those of a webhook; and it sends every
// parameter that has an example, unless that is disabled.
function forPage(document) {
  const received = (document['x-webhooks'] = {})
  for (const path of Object.values(document.paths)) {
    for (const operation of Object.values(path)) {
      for (const [name, callback] of Object.entries(operation.callbacks ?? {})) received[name] = Object.values(callback)[0]
      delete operation.callbacks
      for (const parameter of operation.parameters ?? []) {
        if (parameter.in !== 'query' || parameter.required || parameter.example === undefined) continue
        parameter.examples = { example: { value: parameter.example, 'x-disabled': true } }
        delete parameter.example
      }
    }
  }
  return document
}

const show = async () => Scalar.createApiReference('#reference', {
  content: forPage(await (await fetch(lang === 'en' ? 'openapi.json' : `openapi.json?lang=${lang}`)).json()),
  documentDownloadType: 'none',
  localization: { locale: lang, translations: labels[lang] },
  authentication: { preferredSecurityScheme: 'AccountKey' },
  withDefaultFonts: false,
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: 'never',
  defaultOpenAllTags: true,
  defaultHttpClient: { targetKey: 'shell', clientKey: 'curl' },
})

show()
