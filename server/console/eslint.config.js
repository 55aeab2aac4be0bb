// What tsc does not see.
const browser = ['URL', 'URLSearchParams', 'Blob', 'Intl', 'TextEncoder', 'atob', 'btoa', 'crypto', 'document', 'fetch', 'history', 'location', 'navigator', 'sessionStorage']
const scroll = ['innerHeight', 'scrollBy', 'scrollTo', 'scrollY']
const timers = ['addEventListener', 'removeEventListener', 'setInterval', 'clearInterval', 'setTimeout', 'clearTimeout']

export default [
  {
    files: ['app/*.js'],
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    languageOptions: { ecmaVersion: 2025, sourceType: 'module', globals: Object.fromEntries([...browser, ...scroll, ...timers].map(name => [name, 'readonly'])) },
    rules: {
      'no-undef': 'error',
      'no-unused-vars': 'error',
      'prefer-const': 'error',
      eqeqeq: 'error',
      'no-var': 'error',
      'no-shadow': 'error',
      'no-implicit-globals': 'error',
      'consistent-return': 'error',
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-new-func': 'error',
      'max-lines': ['error', 300],
    },
  },
  { files: ['app/texts.js'], rules: { 'max-lines': 'off' } },
]
