// An account's life with supabase-js: sign up, sign in, change the profile, stay signed in, sign out.
import { createClient } from '@supabase/supabase-js'

const { API_URL, ANON_KEY, SERVICE_ROLE_KEY } = process.env
const credentials = { email: `ada-${Date.now()}@example.com`, password: 'correct horse battery' }

/** must returns the data of an answer, or ends with its error. */
function must({ data, error }) {
  if (error) throw error
  return data
}

const supabase = createClient(API_URL, ANON_KEY)
supabase.auth.onAuthStateChange((event) => console.log(`  (${event})`))

console.log('signing up')
must(await supabase.auth.signUp({ ...credentials, options: { data: { name: 'Ada' } } }))
must(await supabase.auth.signOut())

console.log('a wrong password')
const { error } = await supabase.auth.signInWithPassword({ ...credentials, password: 'a guess' })
console.log(`  ${error.status} ${error.code}: ${error.message}`)

console.log('the right one')
const { user } = must(await supabase.auth.signInWithPassword(credentials))
must(await supabase.auth.updateUser({ data: { name: 'Ada, Countess of Lovelace' } }))
must(await supabase.auth.refreshSession())

// What PostgREST and row level security get to see; supabase.from('journal') sends this token along.
const { claims } = must(await supabase.auth.getClaims())
console.log(`  ${claims.role} ${claims.user_metadata.name}, signed in by ${claims.amr[0].method}`)

console.log('an administrator removes the account')
const admin = createClient(API_URL, SERVICE_ROLE_KEY, { auth: { persistSession: false } }).auth.admin
must(await admin.deleteUser(user.id))
const gone = await supabase.auth.getUser()
console.log(`  ${gone.error.status} ${gone.error.code}`)
