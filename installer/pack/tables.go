package main

import "fmt"

// What a number in a table means, as Windows Installer's documentation has it.
const (
	runProgram    = 18     // msidbCustomActionTypeExe + SourceFile: a file of this package
	inScript      = 0x400  // later, by the service, where everything can be undone
	noImpersonate = 0x800  // as LocalSystem
	hideTarget    = 0x2000 // the command line stays out of logs

	whenInstalled = 1 // msidbRemoveFileInstallModeOnInstall

	errorNormal = 1
	errorVital  = 0x8000 // without the service there is no installation
)

// queries are what the tables get that wixl has no word for, or drops.
func (o options) queries() []string {
	return []string{
		// What the service may be handed by whoever runs an installer of the
		// machine's, and what no log may have.
		"UPDATE `Property` SET `Value`='ALLOWDOWNGRADE;CODE;ID;NEWERFOUND;OTHERFOUND;OURSFOUND;REGION;REMOVEPROGRAMDATA;SERVICEFOUND;TAKEOVER;WINDOWSMAJOR' WHERE `Property`='SecureCustomProperties'",
		"INSERT INTO `Property` (`Property`, `Value`) VALUES ('MsiHiddenProperties', 'CODE')",
		fmt.Sprintf("UPDATE `CustomAction` SET `Type`=%d WHERE `Action`='Register'", runProgram+inScript+noImpersonate+hideTarget),
		fmt.Sprintf("UPDATE `ServiceInstall` SET `ErrorControl`=%d WHERE `ServiceInstall`='Service'", errorNormal+errorVital),
		// Windows keeps a file that has a version over one of which the table
		// says that it has none, and compares contents of the latter only.
		fmt.Sprintf("UPDATE `File` SET `Version`='%s', `Language`='1033' WHERE `File`='Agent'", o.version),
		"DELETE FROM `MsiFileHash` WHERE `File_`='Agent'",
		// A name that is no short one needs a short one before it.
		"UPDATE `File` SET `FileName`='SSMAGENT.EXE|amazon-ssm-agent.exe' WHERE `File`='Agent'",
		"UPDATE `File` SET `FileName`='SSMAGENT.TEM|amazon-ssm-agent.json.template' WHERE `File`='Template'",
		// The program's other names are copies that Windows makes: in the
		// package it is once. Those of another version go first, as no copy
		// is said to take their place.
		"CREATE TABLE `DuplicateFile` (`FileKey` CHAR(72) NOT NULL, `Component_` CHAR(72) NOT NULL, `File_` CHAR(72) NOT NULL, `DestName` CHAR(255) LOCALIZABLE, `DestFolder` CHAR(72) PRIMARY KEY `FileKey`)",
		"INSERT INTO `DuplicateFile` (`FileKey`, `Component_`, `File_`, `DestName`) VALUES ('Cli', 'Agent', 'Agent', 'ssm-cli.exe')",
		"INSERT INTO `DuplicateFile` (`FileKey`, `Component_`, `File_`, `DestName`) VALUES ('Local', 'Agent', 'Agent', 'SSMLOCAL.EXE|ssm-local.exe')",
		fmt.Sprintf("INSERT INTO `RemoveFile` (`FileKey`, `Component_`, `FileName`, `DirProperty`, `InstallMode`) VALUES ('CliBefore', 'Agent', 'ssm-cli.exe', 'INSTALLFOLDER', %d)", whenInstalled),
		fmt.Sprintf("INSERT INTO `RemoveFile` (`FileKey`, `Component_`, `FileName`, `DirProperty`, `InstallMode`) VALUES ('LocalBefore', 'Agent', 'SSMLOCAL.EXE|ssm-local.exe', 'INSTALLFOLDER', %d)", whenInstalled),
	}
}
