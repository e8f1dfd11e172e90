package secfile

// Protect makes dir, and gives it and all below it to SYSTEM and the
// Administrators alone, whoever made what is there: a directory of everybody's
// is where somebody may have put things before the agent came. It follows no
// link and changes none: links names those that are there, which nothing of
// ours will open either. It is idempotent. Elsewhere packages make the
// directories as they are to be, and it is an error.
func Protect(dir string) (links []string, err error) { return protect(dir) }

// Claim is Protect where dir itself does not have its rights yet: below a directory
// that has, nobody else can have made anything.
func Claim(dir string) (links []string, err error) { return claim(dir) }
